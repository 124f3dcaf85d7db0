"""Small models that the tests of serving share."""

from pathlib import Path

import pytest
import serving_helpers  # noqa: F401  (skips where the packages of a server are missing)
from small_models import write_checkpoint, write_images

from detkit.api import Detector


@pytest.fixture(scope='session')
def small_detector(tmp_path_factory) -> Detector:
    """A segmenting model of random weights, which finds something in any image."""
    return Detector(write_checkpoint(tmp_path_factory.mktemp('served') / 'small.pth'), device='cpu')


@pytest.fixture(scope='session')
def pictures(tmp_path_factory) -> list[Path]:
    """Files of two shapes in turn."""
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
