"""What a converter makes of a file, and the shapes that a file of its project has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from builders import CONFIGS

from detkit.config import load_config
from detkit.converters.common import resolve_config
from detkit.converters.inert_pickle import StorageRef, TensorRef
from detkit.converters.pickled_model import Scale
from detkit.converters.ultralytics_keys import YOLOV8_KEYS
from detkit.converters.ultralytics_models import DATASETS
from detkit.converters.yolov5 import YOLOV5_KEYS, YOLOv5Model
from detkit.engine.checkpoint import load_checkpoint
from detkit.models.heads.anchor_head import COCO_ANCHORS
from detkit.registry import DETECTORS
from detkit.utils.errors import CheckpointError
from detkit.utils.without_memory import without_memory

YOLOV5_CONFIG = CONFIGS / 'yolov5' / 'det_coco.py'

Convert = Callable[..., list[str]]


def converted(convert: Convert, source: Path, target: Path | None = None, **kwargs) -> tuple[dict, str]:
    """Convert a file and return the checkpoint and the report."""
    target = target or source.with_suffix('.pth')
    lines = convert(source, target, CONFIGS, **kwargs)
    return load_checkpoint(target), '\n'.join(lines)


def error_of(convert: Convert, source: Path, **kwargs) -> str:
    """Return why a file is refused; nothing is written."""
    target = source.with_name('refused.pth')
    with pytest.raises(CheckpointError) as caught:
        convert(source, target, CONFIGS, **kwargs)
    assert not target.exists()
    return str(caught.value)


def same_weights(first: dict, second: dict) -> bool:
    """Whether two checkpoints hold the same tensors in the same order."""
    first, second = first['state_dict'], second['state_dict']
    return list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)


def tensor_refs(shapes: dict[str, tuple[int, ...]]) -> dict[str, TensorRef]:
    """Return what a reader finds in a file before it reads a tensor."""
    return {name: TensorRef(StorageRef('0', torch.float16, 0), 0, shape, ()) for name, shape in shapes.items()}


def ultralytics_shapes(
    task: str, num_classes: int, widen_factor: float | None = None, size: str = 'n'
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of detkit's model under the file's names."""
    cfg = load_config(CONFIGS / 'yolov8' / f'{task}_{DATASETS[task]}.py', dict(size=size)).model
    cfg.head.num_classes = num_classes
    if widen_factor:
        cfg.backbone.widen_factor = widen_factor
    return _shapes(cfg, YOLOV8_KEYS[task].to_theirs)


def yolov5_shapes(
    size: str, focus: bool, num_classes: int, widen_factor: float | None = None
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of detkit's model under the file's names and in its form."""
    shapes = _shapes(yolov5_config(size, focus, num_classes, widen_factor), YOLOV5_KEYS[focus].to_theirs)
    if focus:
        out_channels, in_channels = shapes['model.0.conv.conv.weight'][:2]
        shapes['model.0.conv.conv.weight'] = out_channels, 4 * in_channels, 3, 3
    return shapes


def yolov5_config(size: str, focus: bool, num_classes: int, widen_factor: float | None = None) -> dict:
    """Return the config of the model that a converter writes."""
    deepen, widen = resolve_config(YOLOV5_CONFIG)['sizes'][size]
    scale = Scale(None if widen_factor else size, deepen, widen_factor or widen, 1024)
    found = yolov5_model(tuple(map(str, range(num_classes))), {}, focus)
    return found.describe(scale, YOLOV5_CONFIG).config['model']


def yolov5_model(classes: tuple[str, ...], tensors: dict, focus: bool = False, factors=None) -> YOLOv5Model:
    """Return what a file of YOLOv5 holds, with COCO's anchors."""
    return YOLOv5Model(
        path=Path('x.pt'),
        classes=classes,
        anchors=COCO_ANCHORS[3],
        focus=focus,
        tensors=tensors,
        factors=factors,
        norm_eps=1e-3,
    )


def _shapes(config: dict, rename: Callable[[str], str]) -> dict[str, tuple[int, ...]]:
    with without_memory():
        state = DETECTORS.build(config).state_dict()
    return {rename(name): tuple(value.shape) for name, value in state.items()}
