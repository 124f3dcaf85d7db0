"""The folder for all that detkit keeps between runs: fetched weights, networks for runtimes."""

from __future__ import annotations

import os
from pathlib import Path

# The environment variable that names the folder.
CACHE_VARIABLE = 'DETKIT_CACHE'


def cache_folder() -> Path:
    """Return the folder for all that detkit keeps: ``DETKIT_CACHE``, else ``detkit`` in the user's cache folder."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'detkit'
