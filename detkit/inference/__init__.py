"""Prediction on images: ``Predictor`` and what it is made of. It needs a checkpoint, but no dataset."""

from detkit.inference.model import init_detector
from detkit.inference.predictor import Predictor
from detkit.inference.sources import SourceImage, find_images, require_images

__all__ = ['Predictor', 'SourceImage', 'find_images', 'init_detector', 'require_images']
