"""Detectors: glue between a backbone, necks and a head."""

from .image_classifier import ImageClassifier
from .single_stage import SingleStageDetector

__all__ = ['ImageClassifier', 'SingleStageDetector']
