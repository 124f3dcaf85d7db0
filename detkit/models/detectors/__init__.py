"""Detectors: glue between a backbone, necks and a head."""

from typing import TYPE_CHECKING

from detkit.utils.lazy import lazy_names

if TYPE_CHECKING:
    from detkit.models.detectors.base_detector import BaseDetector, ModelInfo
    from detkit.models.detectors.detr import DETR
    from detkit.models.detectors.image_classifier import ImageClassifier
    from detkit.models.detectors.open_vocabulary import OpenVocabularyDetector
    from detkit.models.detectors.single_stage import SingleStageDetector
    from detkit.models.detectors.two_stage import TwoStageDetector

__getattr__ = lazy_names(
    __name__,
    {
        'BaseDetector': 'base_detector',
        'DETR': 'detr',
        'ImageClassifier': 'image_classifier',
        'ModelInfo': 'base_detector',
        'OpenVocabularyDetector': 'open_vocabulary',
        'SingleStageDetector': 'single_stage',
        'TwoStageDetector': 'two_stage',
    },
)

__all__ = [
    'DETR',
    'BaseDetector',
    'ImageClassifier',
    'ModelInfo',
    'OpenVocabularyDetector',
    'SingleStageDetector',
    'TwoStageDetector',
]
