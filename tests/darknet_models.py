"""Builds the YOLOv3 models of the base configs."""

import torch
from builders import model_config

from detkit.registry import DETECTORS

SIZES = {'yolov3': 'full', 'yolov3_spp': 'spp', 'yolov3_tiny': 'tiny'}


def build_family(
    family: str, num_classes: int = 80, widen_factor: float = 1.0, device: str = 'meta'
) -> torch.nn.Module:
    """A detector; without memory of its own on ``'meta'``, for ``load_state_dict(..., assign=True)``.

    Args:
        family: one of ``SIZES``, as the streams are named.
        widen_factor: of the backbone; the neck's channels follow.
    """
    cfg = model_config('yolov3', num_classes, size=SIZES[family])
    cfg.backbone.widen_factor = widen_factor
    with torch.device(device):
        return DETECTORS.build(cfg)
