"""A small detector whose weights are random, but which finds something in any image."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from builders import model_config

from detkit.engine import save_checkpoint
from detkit.registry import DETECTORS

CLASSES = ('cat', 'dog', 'bird')


# The variable with which a shipped config of YOLOv8 describes a narrow model.
NARROW = 'widen_factor=0.125'
# Values that make a network of few layers of one; its checkpoints have few tensors, of which reading them takes long.
SHALLOW = {
    'model.backbone': dict(_delete_=True, type='Darknet', depth='tiny', widen_factor=0.0625),
    'model.neck': None,
}


def take_blocks_once(model: dict[str, Any]) -> None:
    """Let blocks that are repeated be in a network once."""
    necks = model.get('neck') or []
    for part in (model['backbone'], *(necks if isinstance(necks, list) else [necks])):
        if 'deepen_factor' in part:
            part['deepen_factor'] = 0.01


def make_config(
    task: str = 'seg', classes: tuple[str, ...] = CLASSES, narrow: bool = False, shallow: bool = False
) -> dict:
    """Return the config of a YOLOv8n, of a narrow one, or of a shallow one, which has no neck either."""
    model = model_config(
        f'yolov8_{task}', len(classes), **(dict(widen_factor=0.125) if narrow or shallow else {})
    ).to_dict()
    if shallow:
        model.pop('neck', None)  # the maps of the backbone have the same strides
    return {'task': task, 'classes': classes, 'model': model}


def write_checkpoint(path: Path, task: str = 'seg', classes: tuple[str, ...] = CLASSES, narrow: bool = False) -> Path:
    """Random weights of the n model; the class biases are raised, so that some cells exceed any usual threshold."""
    save_checkpoint(_content(task, classes, narrow, shallow=False), path)
    return path


def write_shallow_checkpoint(path: Path, task: str = 'seg', classes: tuple[str, ...] = CLASSES) -> Path:
    """The same of a shallow model, for tests of which no config is that of its network: half the layers take time."""
    save_checkpoint(_content(task, classes, narrow=True, shallow=True), path)
    return path


@cache
def _content(task: str, classes: tuple[str, ...], narrow: bool, shallow: bool) -> dict:
    config = make_config(task, classes, narrow, shallow)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = DETECTORS.build(config['model'])
        if task == 'cls':
            torch.nn.init.normal_(model.head.fc_cls.weight)
        for branch in getattr(model.head, 'cls_branches', ()):
            torch.nn.init.normal_(branch[-1].weight, std=2.0)
            torch.nn.init.zeros_(branch[-1].bias)
    meta = {
        'format': 'detkit',
        'format_version': 1,
        'classes': list(classes),
        'task': task,
        'config': ''.join(f'{key} = {value!r}\n' for key, value in config.items()),
    }
    return {'meta': meta, 'state_dict': model.state_dict()}


def write_images(folder: Path, count: int, shape: tuple[int, int] = (60, 90)) -> list[Path]:
    """PNG files of smooth noise."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    paths = []
    for i in range(count):
        noise = rng.integers(0, 256, (6, 9, 3), np.uint8)
        paths.append(folder / f'{i}.png')
        cv2.imwrite(str(paths[-1]), cv2.resize(noise, shape[::-1], interpolation=cv2.INTER_CUBIC))
    return paths
