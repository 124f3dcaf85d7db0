"""Standard streams whose terminal or reader is gone."""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from detkit.utils.printable import is_terminal

__all__ = ['discard', 'outlive_terminals', 'outlived']


def discard(stream: Any) -> None:
    """Let what is written to a stream, and to its descriptor by libraries, go nowhere from now on.

    Args:
        stream: such as ``sys.stdout``; one without a descriptor is left as it is.
    """
    with suppress(io.UnsupportedOperation):
        number = stream.fileno()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, number)
        os.close(null)


def is_lost_terminal(stream: Any, error: OSError) -> bool:
    """Return whether writing to a stream failed because its terminal is gone, as after a lost connection of ssh."""
    if error.errno != errno.EIO:
        return False
    with suppress(io.UnsupportedOperation):
        return stat.S_ISCHR(os.fstat(stream.fileno()).st_mode)  # which no longer says that it is a terminal
    return False


@contextmanager
def outlived(stream: Any) -> Iterator[None]:
    """Leave the block where the terminal of a stream is gone, and discard what is written to it from then on."""
    try:
        yield
    except OSError as error:
        if not is_lost_terminal(stream, error):
            raise
        discard(stream)


class _Terminal(io.FileIO):
    """A terminal to which can be written, without an effect, when it is gone."""

    def write(self, data: Any) -> int | None:
        with outlived(self):
            return super().write(data)
        return super().write(data)


def outlive_terminals() -> None:
    """Let this process go on where the terminal that it writes to is gone; what it prints then goes nowhere."""
    for name in ('stdout', 'stderr'):
        stream = getattr(sys, name)
        if is_terminal(stream) and isinstance(stream, io.TextIOWrapper):
            stream.flush()
            opened = io.TextIOWrapper(
                io.BufferedWriter(_Terminal(stream.fileno(), 'w', closefd=False)),
                encoding=stream.encoding,
                errors=stream.errors,
                line_buffering=True,
                write_through=stream.write_through,
            )
            setattr(sys, name, opened)
