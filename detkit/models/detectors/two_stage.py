"""``TwoStageDetector``: a detector whose second stage looks at the regions that its first one proposes."""

from __future__ import annotations

from detkit.registry import DETECTORS

from .base_detector import BaseDetector


@DETECTORS.register_module()
class TwoStageDetector(BaseDetector):
    """Detector with a head of two stages, ``TwoStageHead``; the arguments are those of ``BaseDetector``.

    Regions are cut off at the borders of the images, so that results depend on the sizes before padding.
    """

    needs_img_shapes = True
