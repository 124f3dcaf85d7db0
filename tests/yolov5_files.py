"""Files as YOLOv5 writes them, without YOLOv5: its modules are made up, with the layout of real files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from parity.yolov5_state import ANCHORS, FACTORS, yolov5_state
from pickled_files import CLASSES, Layout, in_half_precision, read_layouts, tensor_shapes, write_model
from torch import Tensor

RECORDED = Path(__file__).parent / 'parity' / 'yolov5_pt.npz'
STRIDES = (8, 16, 32)


def read_recorded() -> dict[str, Any]:
    """Return what ``parity/record_yolov5_pt.py`` recorded."""
    return read_layouts(RECORDED)


def seeded_tensors(
    layout: Layout,
    seed: int,
    shapes: dict[str, tuple[int, ...]] | None = None,
    num_classes: int = len(CLASSES),
    dtype: torch.dtype = torch.float16,
) -> dict[str, Tensor]:
    """Weights by name, as ``yolov5_state``, in half precision or another."""
    shapes = shapes or tensor_shapes(layout, without='anchor')
    return in_half_precision(yolov5_state(shapes, seed, num_classes), dtype)


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
    }
    return write_model(path, layout, tensors, state, content, entry)
