"""Prediction on images: ``Predictor`` and what it is made of. It needs a checkpoint, but no dataset."""

from detkit.inference.model import detector_of_content, init_detector
from detkit.inference.predictor import Predictor
from detkit.inference.result import Result
from detkit.inference.results import Results
from detkit.inference.sources import SourceImage, find_images, require_images

__all__ = [
    'Predictor',
    'Result',
    'Results',
    'SourceImage',
    'detector_of_content',
    'find_images',
    'init_detector',
    'require_images',
]
