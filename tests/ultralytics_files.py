"""Files as ultralytics writes them, without ultralytics: its modules are made up, with the layout of real files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from conversions import error_of
from parity.shapes import loss_state
from pickled_files import CLASSES, SEED, Layout, in_half_precision, read_layouts, tensor_shapes, write_model
from torch import Tensor

from detkit.converters.ultralytics import convert_ultralytics

PARITY = Path(__file__).parent / 'parity'
RECORDED = {
    'yolov8': PARITY / 'ultralytics_pt.npz',
    'yolo11': PARITY / 'ultralytics_yolo11_pt.npz',
    'yolo26': PARITY / 'ultralytics_yolo26_pt.npz',
    'yolov10': PARITY / 'ultralytics_yolov10_pt.npz',
    'levels': PARITY / 'ultralytics_levels_pt.npz',
}
TASK_NAMES = {'det': 'detect', 'seg': 'segment', 'pose': 'pose', 'obb': 'obb', 'cls': 'classify'}
SCALES = {'n': [0.33, 0.25, 1024], 'm': [0.67, 0.75, 768]}


def read_recorded(family: str = 'yolov8') -> dict[str, Any]:
    """Return what ``parity/record_ultralytics_pt.py``, of 'levels' ``record_ultralytics_levels.py``, recorded."""
    return read_layouts(RECORDED[family])


def write_pt(
    path: Path,
    layout: Layout,
    task: str,
    tensors: dict[str, Tensor],
    *,
    scale: str | None = 'n',
    scales: dict | None = None,
    classes: tuple[str, ...] = CLASSES,
    entry: str = 'model',
    names: Any = None,
    more: dict | None = None,
    attributes: dict | None = None,
) -> Path:
    """Write a file.

    Args:
        path: where to.
        layout: of the modules, as recorded.
        task: 'det', …
        tensors: parameters and buffers by name; DFL's are added.
        scale, scales: what the model's description says about its size.
        classes: the class names, given to ``names`` by label unless that is given.
        entry: 'model', as ``YOLO.save`` and the end of training write it, or 'ema', as checkpoints of training do.
        more: other entries of the file.
        attributes: other attributes of the model.
    """
    tensors = dict(tensors)
    kind = next(iter(tensors.values())).dtype
    for name, shape in tensor_shapes(layout).items():
        if '.dfl.' in name:
            tensors[name] = torch.arange(16, dtype=kind).view(shape)
    described = {'nc': len(classes), 'scales': scales or SCALES, 'scale': scale, 'yaml_file': f'yolov8{scale}.yaml'}
    state = {
        'yaml': described,
        'names': dict(enumerate(classes)) if names is None else names,
        'stride': torch.tensor([1.0] if task == 'cls' else [8.0, 16.0, 32.0]),
        'task': TASK_NAMES[task],
        'args': {'task': TASK_NAMES[task], 'imgsz': 640},
        **(attributes or {}),
    }
    content = {
        'ema': None,
        'model': None,
        'version': '8.4.190',
        'date': '2026-01-01T00:00:00',
        'license': 'AGPL-3.0',
        'docs': 'https://docs.ultralytics.com',
        **(more or {}),
    }
    return write_model(path, layout, tensors, state, content, entry)


def seeded_tensors(
    layout: Layout, seed: int, shapes: dict[str, tuple[int, ...]] | None = None, dtype: torch.dtype = torch.float16
) -> dict[str, Tensor]:
    """Weights by name, as ``loss_state``, in half precision or another."""
    # DFL's weights are fixed.
    return in_half_precision(loss_state(shapes or tensor_shapes(layout, without='.dfl.'), seed), dtype)


def refusal_of(layout: Layout, folder: Path) -> str:
    """Return the sentence, a line, by which a detector's file of this layout is refused."""
    message = error_of(convert_ultralytics, write_pt(folder / 'in.pt', layout, 'det', seeded_tensors(layout, SEED)))
    assert '\n' not in message
    return message
