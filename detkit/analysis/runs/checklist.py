"""A list of checks with their results and remedies."""

from __future__ import annotations

import io
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import detkit
from detkit.utils.errors import DetkitError, first_line

PASSED, WARNED, FAILED = 'passed', 'warned', 'failed'

_TITLE_WIDTH = 16
_PACKAGE = Path(detkit.__file__).parent


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        status: 'passed', 'warned' (a run will end, but perhaps not as intended) or 'failed' (a run will stop).
        title: subject of the check, in a word or two.
        text: the finding.
        remedy: advice; empty if nothing needs to be done.
    """

    status: str
    title: str
    text: str
    remedy: str = ''

    @property
    def lines(self) -> list[str]:
        """Return the check as lines of text for a terminal."""
        first, *others = self.text.splitlines() or ['']
        lines = [f'{self.status}  {self.title:{_TITLE_WIDTH}}  {first}']
        lines += [' ' * (_TITLE_WIDTH + 10) + line.strip() for line in others]
        return lines + [' ' * (_TITLE_WIDTH + 10) + f'-> {self.remedy}'] * bool(self.remedy)


@dataclass
class Section:
    """A part of the checks.

    Attributes:
        succeeded: whether it came to its end.
    """

    succeeded: bool = False


class CheckList:
    """The checks of a run, in their order.

    Args:
        show: called with each line as soon as it is known; None prints to the current standard output.
    """

    def __init__(self, show: Callable[[str], Any] | None = None) -> None:
        self.checks: list[Check] = []
        self._stream = sys.stdout  # within a section another one takes its place
        self._show = show or partial(print, flush=True)

    def add(self, status: str, title: str, text: str, remedy: str = '') -> None:
        check = Check(status, title, text, remedy)
        self.checks.append(check)
        with redirect_stdout(self._stream):
            for line in check.lines:
                self._show(line)

    def passed(self, title: str, text: str) -> None:
        self.add(PASSED, title, text)

    def warned(self, title: str, text: str, remedy: str = '') -> None:
        self.add(WARNED, title, text, remedy)

    def failed(self, title: str, text: str, remedy: str = '') -> None:
        self.add(FAILED, title, text, remedy)

    @contextmanager
    def section(self, title: str) -> Iterator[Section]:
        """Turn an exception inside the context into a failed check, so that the checks after it are still made.

        Whatever else is printed inside the context is kept from the terminal.

        An error of detkit's has a text for the user. Any other, such as one in a custom component, is reported with
        the line of code that it came from.
        """
        section = Section()
        try:
            with redirect_stdout(io.StringIO()):
                yield section
            section.succeeded = True
        except DetkitError as error:
            self.failed(title, str(error))
        except Exception as error:  # whatever a component raises would end a run in the same way
            text, remedy = _out_of_memory(error) or (f'{type(error).__name__}: {error}{_place(error)}', '')
            self.failed(title, text, remedy)

    def count(self, status: str) -> int:
        return sum(check.status == status for check in self.checks)

    @property
    def summary(self) -> str:
        """The counts as text: '12 passed, 1 warned, 0 failed'."""
        return ', '.join(f'{self.count(status)} {status}' for status in (PASSED, WARNED, FAILED))

    def as_dicts(self) -> list[dict[str, str]]:
        return [asdict(check) for check in self.checks]


def _out_of_memory(error: Exception) -> tuple[str, str] | None:
    if isinstance(error, MemoryError) or 'out of memory' in str(error).lower():
        return (
            f'memory ran out: {first_line(error)}',
            'a smaller batch_size or img_size, or mixed precision (optim_wrapper.amp=True)',
        )
    return None


def _place(error: Exception) -> str:
    """Return where an error came from: the innermost line of detkit or of a user's code, or else the innermost."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame
        for frame in frames
        if Path(frame.filename).is_relative_to(_PACKAGE)
        or 'site-packages' not in frame.filename
        and '/lib/python' not in frame.filename.replace('\\', '/')
    ]
    chosen = (own or list(frames))[-1:]
    return ''.join(f' ({frame.filename}, line {frame.lineno}, in {frame.name})' for frame in chosen)
