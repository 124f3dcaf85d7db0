"""Builds the YOLOv8 models of the base configs in any size."""

from pathlib import Path

import torch
from mmengine.config import Config

import detkit.models  # noqa: F401 - registers the components
from detkit.registry import MODELS

MODEL_CONFIGS = Path(__file__).parents[2] / 'configs' / '_base_' / 'models'

# deepen_factor, widen_factor, max_channels
SIZES = {
    'n': (0.33, 0.25, 1024),
    's': (0.33, 0.50, 1024),
    'm': (0.67, 0.75, 768),
    'l': (1.00, 1.00, 512),
    'x': (1.00, 1.25, 512),
}


def yolov8_config(task: str, size: str = 'n', num_classes: int = 80) -> dict:
    """The model's config, ``task`` as in the base configs' names."""
    cfg = Config.fromfile(MODEL_CONFIGS / f'yolov8_{task}.py').model
    depth, width, max_channels = SIZES[size]
    cfg.backbone.update(deepen_factor=depth, widen_factor=width, max_channels=max_channels)
    if task == 'cls':
        cfg.backbone.max_channels = 1024  # at every size
    else:
        cfg.neck[1].deepen_factor = depth
    cfg.head.num_classes = num_classes
    return cfg


def build_yolov8(task: str, size: str = 'n', num_classes: int = 80, device: str = 'cpu') -> torch.nn.Module:
    with torch.device(device):
        return MODELS.build(yolov8_config(task, size, num_classes))
