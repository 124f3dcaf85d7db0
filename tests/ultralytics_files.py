"""Files as ultralytics writes them, without ultralytics: its modules are made up, with the layout of real files."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from parity.shapes import loss_state
from torch import Tensor, nn

RECORDED = Path(__file__).parent / 'parity' / 'ultralytics_pt.npz'
TASK_NAMES = {'det': 'detect', 'seg': 'segment', 'pose': 'pose', 'obb': 'obb', 'cls': 'classify'}
SCALES = {'n': [0.33, 0.25, 1024], 'm': [0.67, 0.75, 768]}
CLASSES = ('cat', 'dog', 'bird')

Layout = list[tuple[str, str, dict, dict, dict]]


def read_recorded() -> dict[str, Any]:
    """What ``parity/record_ultralytics_pt.py`` recorded, ``layouts`` and ``files`` decoded."""
    with np.load(RECORDED) as arrays:
        recorded = dict(arrays)
    return recorded | {key: json.loads(recorded[key].tobytes()) for key in ('layouts', 'files')}


def tensor_shapes(layout: Layout) -> dict[str, tuple[int, ...]]:
    """Names and shapes of parameters and buffers, but for DFL's fixed weights."""
    return {
        f'{name}.{key}': tuple(shape)
        for name, _, _, *groups in layout
        for group in groups
        for key, shape in group.items()
        if '.dfl.' not in name
    }


@contextmanager
def made_up_classes(paths: set[str]) -> Iterator[dict[str, type]]:
    """Classes of these full names: torch's own, and empty ones in modules that exist only meanwhile."""
    classes, before = {}, dict(sys.modules)
    try:
        for path in paths:
            module, _, name = path.rpartition('.')
            if module.startswith('torch.'):
                classes[path] = getattr(import_module(module), name)
                continue
            parts = module.split('.')
            for depth in range(1, len(parts) + 1):
                parent = '.'.join(parts[:depth])
                made = sys.modules.setdefault(parent, ModuleType(parent))
            classes[path] = type(name, (), {'__module__': module})
            setattr(made, name, classes[path])
        yield classes
    finally:
        for module in set(sys.modules) - set(before):
            if not module.startswith('torch.'):
                del sys.modules[module]


def build_model(layout: Layout, classes: dict[str, type], tensors: dict[str, Tensor], attributes: dict) -> Any:
    """The objects that a file holds: modules with nothing but their state."""
    modules: dict[str, Any] = {}
    for name, path, plain, parameters, buffers in layout:
        module = modules[name] = classes[path].__new__(classes[path])
        module.__dict__.update(
            {
                'training': True,
                '_parameters': {},
                '_buffers': {},
                '_modules': {},
                '_non_persistent_buffers_set': set(),
                **plain,
            }
        )
        for key in parameters:
            value = tensors[f'{name}.{key}']
            module.__dict__['_parameters'][key] = nn.Parameter(value, requires_grad=value.is_floating_point())
        for key in buffers:
            module.__dict__['_buffers'][key] = tensors[f'{name}.{key}']
        if name:
            parent, _, own = name.rpartition('.')
            modules[parent].__dict__['_modules'][own] = module
    modules[''].__dict__.update(attributes)
    return modules['']


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
    tensors['model.22.dfl.conv.weight'] = torch.arange(16, dtype=kind).view(1, 16, 1, 1)
    described = {'nc': len(classes), 'scales': scales or SCALES, 'scale': scale, 'yaml_file': f'yolov8{scale}.yaml'}
    state = {
        'yaml': described,
        'names': dict(enumerate(classes)) if names is None else names,
        'stride': torch.tensor([1.0] if task == 'cls' else [8.0, 16.0, 32.0]),
        'task': TASK_NAMES[task],
        'args': {'task': TASK_NAMES[task], 'imgsz': 640},
        **(attributes or {}),
    }
    with made_up_classes({row[1] for row in layout}) as made:
        model = build_model(layout, made, tensors, state)
        content = {
            'ema': None,
            'model': None,
            'version': '8.4.190',
            'date': '2026-01-01T00:00:00',
            'license': 'AGPL-3.0',
            'docs': 'https://docs.ultralytics.com',
            **(more or {}),
            entry: model,
        }
        torch.save(content, path)
    return path


def seeded_tensors(
    layout: Layout, seed: int, shapes: dict[str, tuple[int, ...]] | None = None, dtype: torch.dtype = torch.float16
) -> dict[str, Tensor]:
    """Weights by name, as ``loss_state``, in half precision or another."""
    state = loss_state(shapes or tensor_shapes(layout), seed)
    return {key: value.half().to(dtype) if value.is_floating_point() else value for key, value in state.items()}
