"""The YOLOv8 models of the base configs in any size."""

import torch
from builders import build_model, model_config

SIZES = 'nsmlx'


def yolov8_config(task: str, size: str = 'n', num_classes: int = 80) -> dict:
    """Return the model's config, ``task`` as in the base configs' names."""
    return model_config(f'yolov8_{task}', num_classes, size=size)


def build_yolov8(task: str, size: str = 'n', num_classes: int = 80, device: str = 'cpu') -> torch.nn.Module:
    return build_model(f'yolov8_{task}', num_classes, device, size=size)
