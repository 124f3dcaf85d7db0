"""Files of YOLOX as its authors write them."""

from __future__ import annotations

from pathlib import Path

import torch
from builders import build_model
from torch import Tensor, nn

from detkit.converters.yolox_keys import FOCUS_WEIGHT, STEM_WEIGHT, YOLOX_KEYS


def their_shapes(size: str, model: nn.Module | None = None, num_classes: int = 80) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the authors' state dict."""
    model = model or build_model('yolox_det', num_classes, 'meta', size=size)
    keys, state = YOLOX_KEYS[size == 'darknet53'], model.state_dict()
    shapes = {keys.to_theirs(name): tuple(value.shape) for name, value in state.items()}
    return shapes if size == 'darknet53' else shapes | {FOCUS_WEIGHT: (len(state[STEM_WEIGHT]), 12, 3, 3)}


def write_pth(path: Path, state: dict[str, Tensor]) -> Path:
    """Write a file as training does, weights beside the optimiser's."""
    torch.save({'start_epoch': 300, 'model': state, 'optimizer': {'state': {}, 'param_groups': []}}, path)
    return path
