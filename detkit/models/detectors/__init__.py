"""Detectors: glue between a backbone, necks and a head."""

from .base_detector import BaseDetector, ModelInfo
from .detr import DETR
from .image_classifier import ImageClassifier
from .single_stage import SingleStageDetector

__all__ = ['DETR', 'BaseDetector', 'ImageClassifier', 'ModelInfo', 'SingleStageDetector']
