"""Files that hold a pickled PyTorch model, without the project that wrote them: its classes are made up for the moment.

A layout is what a real file records of its modules, in order: name, class, plain attributes, and the shapes of
parameters and of buffers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

CLASSES = ('cat', 'dog', 'bird')
SEED = 5
NARROW = 0.125  # width factor of the models that most tests use

Layout = list[tuple[str, str, dict, dict, dict]]
Change = Callable[[Layout, dict[str, Tensor] | None], None]


def read_layouts(path: Path) -> dict[str, Any]:
    """Return what a recording of files holds, ``layouts`` and ``files`` decoded."""
    with np.load(path) as arrays:
        recorded = dict(arrays)
    return recorded | {key: json.loads(recorded[key].tobytes()) for key in ('layouts', 'files')}


def tensor_shapes(layout: Layout, without: str | None = None) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of parameters and buffers, save those with ``without`` in their name, where given."""
    shapes = {
        f'{name}.{key}': tuple(shape)
        for name, _, _, *groups in layout
        for group in groups
        for key, shape in group.items()
    }
    return {name: shape for name, shape in shapes.items() if without is None or without not in name}


def in_half_precision(state: dict[str, Tensor], dtype: torch.dtype = torch.float16) -> dict[str, Tensor]:
    """Round floating-point values to half precision and store them as ``dtype``."""
    return {key: value.half().to(dtype) if value.is_floating_point() else value for key, value in state.items()}


def write_model(
    path: Path, layout: Layout, tensors: dict[str, Tensor], attributes: dict, content: dict, entry: str
) -> Path:
    """Write ``content`` with the model as its entry ``entry``; ``attributes`` are those of the whole model."""
    with _made_up_classes({row[1] for row in layout}) as made:
        torch.save({**content, entry: _build_model(layout, made, tensors, attributes)}, path)
    return path


@contextmanager
def _made_up_classes(paths: set[str]) -> Iterator[dict[str, type]]:
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


def _build_model(layout: Layout, classes: dict[str, type], tensors: dict[str, Tensor], attributes: dict) -> Any:
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


# Changes of a layout, for files that are not what a converter expects.


def rename(layer: str, path: str) -> Change:
    """Give a module another class."""

    def change(layout: Layout, tensors: dict | None) -> None:
        for row in layout:
            if row[0] == layer:
                row[1] = path

    return change


def set_attribute(layer: str, attribute: str, value: object) -> Change:
    """Set a plain attribute of a module."""

    def change(layout: Layout, tensors: dict | None) -> None:
        for row in layout:
            if row[0] == layer:
                row[2][attribute] = value

    return change


def set_epsilon(value: float) -> Change:
    """Set the epsilon of all batch normalisations."""

    def change(layout: Layout, tensors: dict | None) -> None:
        for row in layout:
            if row[1].endswith('BatchNorm2d'):
                row[2]['eps'] = value

    return change


def add_layer(name: str, path: str) -> Change:
    """Append a layer without weights."""

    def change(layout: Layout, tensors: dict | None) -> None:
        layout.append([name, path, {'f': -1}, {}, {}])

    return change


def fold_normalisation(layout: Layout, tensors: dict | None) -> None:
    """Remove all batch normalisations."""
    layout[:] = [row for row in layout if not row[1].endswith('BatchNorm2d')]


class Evil:
    """An object whose unpickling makes the file ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)
