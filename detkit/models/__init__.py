"""Networks and all that is part of one. Importing this registers every component."""

from . import backbones, detectors, layers, necks, priors
from .data_preprocessor import DetDataPreprocessor

__all__ = ['DetDataPreprocessor', 'backbones', 'detectors', 'layers', 'necks', 'priors']
