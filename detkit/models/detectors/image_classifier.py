"""``ImageClassifier``: backbone and classification head."""

from __future__ import annotations

from detkit.registry import DETECTORS

from .base_detector import BaseDetector


@DETECTORS.register_module()
class ImageClassifier(BaseDetector):
    """One class for each image, from any backbone: the head reads its last map; arguments as in ``BaseDetector``."""

    truth = 'gt_label'
