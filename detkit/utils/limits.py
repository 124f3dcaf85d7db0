"""Limits on what a file may ask for, so that a small one cannot take the memory of the machine.

Each can be raised by an environment variable, which reaches all processes of a run.
"""

from __future__ import annotations

import os

from detkit.utils.errors import ConfigError

PIXELS_VARIABLE = 'DETKIT_MAX_PIXELS'
BYTES_VARIABLE = 'DETKIT_MAX_FILE_BYTES'


def _limit(variable: str, default: int) -> int:
    text = os.environ.get(variable, '')
    if not text:
        return default
    if not text.isdecimal() or not 0 < int(text[:19]) == int(text[:20]):
        raise ConfigError(f'the environment variable {variable} is {text[:40]!r}, but should be a whole number above 0')
    return int(text)


# The most pixels that an image, or the bitmap of an object, may have; decoding takes three bytes a pixel and more.
MAX_PIXELS = _limit(PIXELS_VARIABLE, 1 << 28)
# The largest file that is read at once. COCO's and Open Images' files are read in blocks, and may be larger.
MAX_FILE_BYTES = _limit(BYTES_VARIABLE, 1 << 30)
# The longest line of a file that is read line by line, in characters.
MAX_LINE = 1 << 20
