"""The folder for all that detkit keeps between runs: fetched weights, networks for runtimes."""

from __future__ import annotations

import os
from pathlib import Path

from detkit.utils.errors import ConfigError

# The environment variable that names the folder.
CACHE_VARIABLE = 'DETKIT_CACHE'


def cache_folder() -> Path:
    """Return the folder for all that detkit keeps: ``DETKIT_CACHE``, else ``detkit`` in the user's cache folder.

    For a user without a home, as containers have them, that is one that cannot be made, so that nothing is kept.

    Raises:
        ConfigError: ``DETKIT_CACHE`` names the home folder of a user who has none.
    """
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        folder = os.path.expanduser(given)
        if folder.startswith('~'):
            raise ConfigError(
                f'the environment variable {CACHE_VARIABLE} is {given!r}, but no home folder is known for '
                f'{given.split(os.sep)[0]!r}; write the path of the folder'
            )
        return Path(folder)
    folder = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser(os.path.join('~', '.cache'))
    return Path(os.devnull if folder.startswith('~') else folder, 'detkit')
