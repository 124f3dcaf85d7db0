"""Small files of both projects whose files hold a pickled model."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import ultralytics_files
import yolov5_files
from builders import CONFIGS
from conversions import ultralytics_shapes, yolov5_shapes
from pickled_files import NARROW, SEED, Change
from torch import nn

from detkit.config import load_config
from detkit.config.resolve import LoadedConfig
from detkit.converters import common

Write = Callable[..., Path]


class _Made:
    """Values by the text that they were made from; the last 64 are kept."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def get(self, text: str, make: Callable[[], Any]) -> Any:
        if text not in self.values:
            self.values[text] = make()
            if len(self.values) > 64:
                del self.values[next(iter(self.values))]
        return self.values[text]


_CONFIGS, _MODELS = _Made(), _Made()


@pytest.fixture(autouse=True, scope='module')
def _configs_are_read_once() -> Iterator[None]:
    """Let conversions share what they read of detkit's own configs, and the models without memory that these describe.

    No test changes them, and a conversion does nothing but read names and shapes off such a model.
    """
    build = common.Description.model.func

    def load(file: Path, options: Mapping[str, Any] | None, need_classes: bool) -> LoadedConfig:
        if not Path(file).is_relative_to(CONFIGS):
            return load_config(file, options, need_classes)
        return _CONFIGS.get(f'{file} {options} {need_classes}', lambda: load_config(file, options, need_classes))

    def model(description: common.Description) -> nn.Module:
        return _MODELS.get(repr(description.config['model']), lambda: build(description))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(common, 'load_config', load)
        patch.setattr(common.Description, 'model', property(model))
        yield


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
