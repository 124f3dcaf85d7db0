"""Limits on what a file may ask for, so that a small one cannot take the memory of the machine.

Each can be raised by an environment variable, which reaches all processes of a run.
"""

from __future__ import annotations

from detkit.utils.variables import number_in_variable

PIXELS_VARIABLE = 'DETKIT_MAX_PIXELS'
BYTES_VARIABLE = 'DETKIT_MAX_FILE_BYTES'


# The most pixels that an image, or the bitmap of an object, may have; decoding takes three bytes a pixel and more.
MAX_PIXELS = number_in_variable(PIXELS_VARIABLE, 1 << 28, least=1)
# The largest file that is read at once. COCO's and Open Images' files are read in blocks, and may be larger.
MAX_FILE_BYTES = number_in_variable(BYTES_VARIABLE, 1 << 30, least=1)
# The longest line of a file that is read line by line, in characters.
MAX_LINE = 1 << 20
