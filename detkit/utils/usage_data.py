"""Packages without what they send unasked: of their use (ONNX Runtime, OpenVINO, NNCF), or of models (transformers)."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from types import ModuleType

# OpenVINO and NNCF send nothing where CI says that nobody uses them by hand, see ``openvino_telemetry``. ONNX Runtime
# has a variable of its own, read once, when it is imported; ``disable_telemetry_events`` comes too late for what that
# starts. transformers asks a service to convert a model of the Hub that has no safetensors, which opens a pull request
# there; the last variable is read where huggingface_hub is imported.
_VARIABLES = {
    'CI': 'true',
    'ORT_DISABLE_TELEMETRY': '1',
    'DISABLE_SAFETENSORS_CONVERSION': '1',
    'HF_HUB_DISABLE_TELEMETRY': '1',
}
# A second thread would take the first one's values for those of before, and leave them.
_lock = RLock()


@contextmanager
def without_usage_data() -> Iterator[None]:
    """Keep these packages from sending usage data, and from writing an identifier into the user's home folder.

    They ask nobody. Importing them decides it, and so does each conversion, or each model that is loaded. OpenVINO
    cannot be imported by a user without a home, as containers have them, whose folder it looks for; it is told of one
    that does not exist.
    """
    has_home = not os.path.expanduser('~').startswith('~')
    variables = _VARIABLES if has_home else {**_VARIABLES, 'HOME': os.devnull}
    with _lock:
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def import_silently(name: str) -> ModuleType:
    """Import a package that would report it, see ``without_usage_data``."""
    if name in sys.modules:
        return importlib.import_module(name)  # which waits for another thread that imports it
    with without_usage_data():
        return importlib.import_module(name)
