"""Networks and all that is part of one. Importing this registers every component."""

from . import assigners, backbones, coders, detectors, heads, layers, losses, necks, postprocess, priors
from .data_preprocessor import DetDataPreprocessor

__all__ = [
    'DetDataPreprocessor',
    'assigners',
    'backbones',
    'coders',
    'detectors',
    'heads',
    'layers',
    'losses',
    'necks',
    'postprocess',
    'priors',
]
