"""Disks without room."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def full_disk(size: int = 600) -> Iterator[None]:
    """No file can grow beyond ``size`` bytes: writes fail as they do on a full disk, midway and with an ``OSError``.

    Python compiles modules that are imported meanwhile for this process alone; it would leave their files cut off, and
    no later process could import them.
    """
    resource = pytest.importorskip('resource')  # Windows has no limits of file sizes
    limits, writes_no_modules = resource.getrlimit(resource.RLIMIT_FSIZE), sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        sys.dont_write_bytecode = writes_no_modules
