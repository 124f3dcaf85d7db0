"""``ImageClassifier``: backbone and classification head."""

from __future__ import annotations

from detkit.registry import DETECTORS

from .base_detector import BaseDetector


@DETECTORS.register_module()
class ImageClassifier(BaseDetector):
    """Classifier of whole images, whose head reads the last map; the arguments are those of ``BaseDetector``."""

    truth = 'gt_label'
    classifies = True
