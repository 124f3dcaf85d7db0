"""A server for downloads, and a cache of its own for every test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import FileServer, running_server


@pytest.fixture
def server() -> Iterator[FileServer]:
    with running_server() as running:
        yield running


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder, empty; and nothing remembered from other tests."""
    from detkit.zoo import weights

    monkeypatch.setenv('DETKIT_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(weights, '_unreachable', {})
    monkeypatch.setattr(weights, '_shown', set())
    return tmp_path / 'cache'
