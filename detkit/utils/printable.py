"""Texts from files as a terminal and a file can show them."""

import os
import re
import sys
from io import TextIOWrapper
from typing import TextIO

# All control characters but the tab and the line feed, with which a name in a file could move the cursor, colour the
# terminal or hide what was printed before; and halves of surrogate pairs, which no file can hold.
_UNPRINTABLE = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]')
_LONG_WORD = re.compile(r'\S{2000,}')
_MAX_LINE = 6000


def printable(text: str) -> str:
    r"""Return a text with escapes such as ``\x1b`` and ``\udc80`` in place of characters that cannot be shown."""
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def one_line(text: str) -> str:
    r"""Return a printable text without tabs and line breaks, which are escaped, too."""
    return printable(text).replace('\t', '\\t').replace('\n', '\\n')


def shortened(text: str) -> str:
    """Return a text in which '…' is the middle of each word and line that nobody would read to its end."""
    text = _LONG_WORD.sub(lambda found: f'{found[0][:1000]}…{found[0][-200:]}', text)
    lines = text.split('\n')
    return '\n'.join(
        line if len(line) <= _MAX_LINE else f'{line[: _MAX_LINE - 1000]} … {line[-500:]}' for line in lines
    )


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream, which a process need not have, is a terminal."""
    return stream is not None and stream.isatty()


def open_closed_streams() -> None:
    """Let what a process without standard streams prints go nowhere, as under a supervisor that closes them.

    Otherwise the next file that is opened takes the number of one, and what a library prints is written into it.
    """
    for number, name, mode in ((0, 'stdin', 'r'), (1, 'stdout', 'w'), (2, 'stderr', 'w')):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # which takes the lowest number that is free
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding='utf-8', errors='replace', closefd=False))


def escape_unencodable(stream: object) -> None:
    """Let a stream escape characters that its encoding lacks, as standard error does, where writing them would fail.

    It concerns terminals and pipes of another encoding than UTF-8 (``LC_ALL=de_DE.ISO-8859-1``, ``PYTHONIOENCODING``).

    Args:
        stream: such as ``sys.stdout``, which a process need not have.
    """
    if not isinstance(stream, TextIOWrapper) or stream.encoding.lower().startswith(('utf', 'cp65001')):
        return
    if stream.errors in ('strict', 'surrogateescape'):
        stream.reconfigure(errors='backslashreplace')
