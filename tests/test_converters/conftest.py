"""Small files of both projects whose files hold a pickled model."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import ultralytics_files
import yolov5_files
from conversions import ultralytics_shapes, yolov5_shapes
from pickled_files import NARROW, SEED, Change

Write = Callable[..., Path]


@pytest.fixture(scope='session')
def ultralytics_layouts() -> dict:
    return ultralytics_files.read_recorded()['layouts']


@pytest.fixture(scope='session')
def yolov5_layouts() -> dict:
    return yolov5_files.read_recorded()['layouts']


@pytest.fixture(scope='session')
def narrow_ultralytics() -> dict[str, dict]:
    """Shapes of narrow models by task."""
    return {task: ultralytics_shapes(task, 3, NARROW) for task in ('det', 'cls')}


@pytest.fixture(scope='session')
def narrow_yolov5() -> dict[bool, dict]:
    """Shapes of narrow models, with and without a Focus layer."""
    return {focus: yolov5_shapes('n', focus, 3, NARROW) for focus in (False, True)}


@pytest.fixture
def write_ultralytics(ultralytics_layouts, narrow_ultralytics, tmp_path) -> Write:
    """Writes a file with a narrow model; ``change`` may change its layout and tensors."""

    def write(
        name: str = 'in.pt',
        task: str = 'det',
        dtype: torch.dtype = torch.float16,
        change: Change | None = None,
        **kwargs,
    ) -> Path:
        layout = copy.deepcopy(ultralytics_layouts[f'{task}_n'])
        tensors = ultralytics_files.seeded_tensors(layout, SEED, narrow_ultralytics[task], dtype)
        if change:
            change(layout, tensors)
        kwargs = {'scale': 't', 'scales': {'t': [0.33, NARROW, 1024]}, **kwargs}
        return ultralytics_files.write_pt(tmp_path / name, layout, task, tensors, **kwargs)

    return write


@pytest.fixture
def write_yolov5(yolov5_layouts, narrow_yolov5, tmp_path) -> Write:
    """Writes a file with a narrow model; ``change`` may change its layout and tensors."""

    def write(
        name: str = 'in.pt',
        release: str = '7',
        dtype: torch.dtype = torch.float16,
        change: Change | None = None,
        **kwargs,
    ) -> Path:
        layout = copy.deepcopy(yolov5_layouts[f'{release}_n'])
        tensors = yolov5_files.seeded_tensors(layout, SEED, narrow_yolov5[release == '5'], dtype=dtype)
        if change:
            change(layout, tensors)
        return yolov5_files.write_pt(tmp_path / name, layout, tensors, **{'size': 't', **kwargs})

    return write
