"""Files as YOLOv5 writes them, without YOLOv5: its modules are made up, with the layout of real files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from parity.yolov5_state import ANCHORS, FACTORS, yolov5_state
from torch import Tensor
from ultralytics_files import Layout, build_model, made_up_classes

RECORDED = Path(__file__).parent / 'parity' / 'yolov5_pt.npz'
CLASSES = ('cat', 'dog', 'bird')
STRIDES = (8, 16, 32)


def read_recorded() -> dict[str, Any]:
    """What ``parity/record_yolov5_pt.py`` recorded, ``layouts`` and ``files`` decoded."""
    with np.load(RECORDED) as arrays:
        recorded = dict(arrays)
    return recorded | {key: json.loads(recorded[key].tobytes()) for key in ('layouts', 'files')}


def tensor_shapes(layout: Layout) -> dict[str, tuple[int, ...]]:
    """Names and shapes of parameters and buffers, but for the anchors."""
    return {
        f'{name}.{key}': tuple(shape)
        for name, _, _, *groups in layout
        for group in groups
        for key, shape in group.items()
        if 'anchor' not in key
    }


def seeded_tensors(
    layout: Layout,
    seed: int,
    shapes: dict[str, tuple[int, ...]] | None = None,
    num_classes: int = len(CLASSES),
    dtype: torch.dtype = torch.float16,
) -> dict[str, Tensor]:
    """Weights by name, as ``yolov5_state``, in half precision or another."""
    state = yolov5_state(shapes or tensor_shapes(layout), seed, num_classes)
    return {key: value.half().to(dtype) if value.is_floating_point() else value for key, value in state.items()}


def write_pt(
    path: Path,
    layout: Layout,
    tensors: dict[str, Tensor],
    *,
    size: str = 'n',
    classes: tuple[str, ...] = CLASSES,
    anchors: Any = ANCHORS,
    entry: str = 'model',
    names: Any = None,
    more: dict | None = None,
    attributes: dict | None = None,
) -> Path:
    """Write a file.

    Args:
        path: where to.
        layout: of the modules, as recorded.
        tensors: parameters and buffers by name; the anchors are added.
        size: whose factors the model's description states.
        classes: the class names, which are ``names`` unless that is given.
        anchors: in pixels, of each level.
        entry: 'model', as the end of training writes it, or 'ema', as training itself does.
        more: other entries of the file.
        attributes: other attributes of the model.
    """
    dtype = next(iter(tensors.values())).dtype
    shapes_wh = torch.tensor(anchors, dtype=torch.float64)
    in_strides = shapes_wh / torch.tensor(STRIDES[: len(shapes_wh)], dtype=torch.float64).view(-1, 1, 1)
    tensors = {
        **tensors,
        'model.24.anchors': in_strides.to(dtype),
        'model.24.anchor_grid': shapes_wh.view(len(anchors), 1, -1, 1, 1, 2).to(dtype),
    }
    deepen, widen = FACTORS.get(size, (None, None))
    state = {
        'yaml': {'nc': len(classes), 'depth_multiple': deepen, 'width_multiple': widen},
        'names': list(classes) if names is None else names,
        'stride': torch.tensor(STRIDES, dtype=torch.float32),
        'hyp': {'box': 0.05},
        **(attributes or {}),
    }
    with made_up_classes({row[1] for row in layout}) as made:
        model = build_model(layout, made, tensors, state)
        content = {
            'epoch': -1,
            'best_fitness': None,
            'ema': None,
            'model': None,
            'updates': None,
            'optimizer': None,
            'opt': {'imgsz': 416, 'project': Path('runs')},
            'date': '2024-01-01T00:00:00',
            **(more or {}),
            entry: model,
        }
        torch.save(content, path)
    return path
