"""Small models that the tests of serving share."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # fixtures import what takes long: the process that only starts others does not need it
    from detkit.api import Detector

if any(find_spec(name) is None for name in ('fastapi', 'python_multipart', 'uvicorn')):
    collect_ignore_glob = ['test_*.py']


@pytest.fixture(scope='session')
def small_detector(tmp_path_factory) -> 'Detector':
    """A segmenting model of random weights, which finds something in any image."""
    from small_models import write_shallow_checkpoint

    from detkit.api import Detector

    return Detector(write_shallow_checkpoint(tmp_path_factory.mktemp('served') / 'small.pth'), device='cpu')


@pytest.fixture(scope='session')
def pictures(tmp_path_factory) -> list[Path]:
    """Files of two shapes in turn."""
    from small_models import write_images

    folder = tmp_path_factory.mktemp('pictures')
    wide, high = write_images(folder / 'wide', 3, (48, 64)), write_images(folder / 'high', 3, (64, 32))
    return [path for pair in zip(wide, high, strict=True) for path in pair]


@pytest.fixture(scope='session')
def picture(pictures) -> bytes:
    return pictures[0].read_bytes()


@pytest.fixture(autouse=True)
def _short_linger(monkeypatch) -> None:
    """Do not wait long for clients that say they send a body and never do."""
    monkeypatch.setattr('detkit.serving.guard._LINGER_SECONDS', 0.3)
