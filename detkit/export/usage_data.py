"""OpenVINO and NNCF without their reports: each import and each use goes to an analytics service by itself."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

# The variable by which both are told that nobody uses them by hand, see ``openvino_telemetry``.
_VARIABLE = 'CI'


@contextmanager
def without_usage_data() -> Iterator[None]:
    """Keep OpenVINO and NNCF from sending usage data, and from writing an identifier into the user's home folder.

    They ask nobody. Importing them decides it, and so does each conversion.
    """
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = 'true'
    try:
        yield
    finally:
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before


def import_silently(name: str) -> ModuleType:
    """Import a package that would report it, see ``without_usage_data``."""
    with without_usage_data():
        return importlib.import_module(name)
