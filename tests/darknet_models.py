"""Builds the YOLOv3 models of the base configs."""

from pathlib import Path

import torch
from mmengine.config import Config

import detkit.models  # noqa: F401 - registers the components
from detkit.registry import MODELS

MODEL_CONFIGS = Path(__file__).parents[1] / 'configs' / '_base_' / 'models'


def build_family(
    family: str, num_classes: int = 80, widen_factor: float = 1.0, device: str = 'meta'
) -> torch.nn.Module:
    """A detector; without memory of its own on ``'meta'``, for ``load_state_dict(..., assign=True)``.

    Args:
        family: a base config's name, such as ``'yolov3_spp'``.
        widen_factor: of the backbone; the neck's channels follow.
    """
    cfg = Config.fromfile(MODEL_CONFIGS / f'{family}.py').model
    cfg.head.num_classes = num_classes
    cfg.backbone.widen_factor = widen_factor
    with torch.device(device):
        return MODELS.build(cfg)
