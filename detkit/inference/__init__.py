"""Prediction on images: ``Predictor`` and what it is made of. It needs a checkpoint, but no dataset."""

from detkit.inference.model import init_detector
from detkit.inference.predictor import Predictor
from detkit.inference.sources import find_images

__all__ = ['Predictor', 'find_images', 'init_detector']
