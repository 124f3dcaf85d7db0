"""The folder for all that detkit keeps between runs: fetched weights, networks for runtimes."""

from __future__ import annotations

import os
from pathlib import Path

# The environment variable that names the folder.
CACHE_VARIABLE = 'DETKIT_CACHE'


def cache_folder() -> Path:
    """Return the folder for all that detkit keeps: ``DETKIT_CACHE``, else ``detkit`` in the user's cache folder.

    For a user without a home, as containers have them, that is one that cannot be made, so that nothing is kept.
    """
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(os.path.expanduser(given))
    folder = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser(os.path.join('~', '.cache'))
    return Path(os.devnull if folder.startswith('~') else folder, 'detkit')
