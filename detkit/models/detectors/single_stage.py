"""``SingleStageDetector``: backbone, neck, dense head."""

from __future__ import annotations

from detkit.registry import DETECTORS

from .base_detector import BaseDetector


@DETECTORS.register_module()
class SingleStageDetector(BaseDetector):
    """Detector whose head needs only the feature maps; the arguments are those of ``BaseDetector``."""
