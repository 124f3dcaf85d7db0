"""``CheckList``: what was looked at, whether it is in order, and what to do where it is not."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import detkit
from detkit.utils.errors import DetkitError

PASSED, WARNED, FAILED = 'passed', 'warned', 'failed'

_TITLE_WIDTH = 16
_PACKAGE = Path(detkit.__file__).parent


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        status: 'passed', 'warned' (a run will come to its end, but maybe not as meant) or 'failed' (it will not).
        title: what was looked at, in a word or two.
        text: what was found.
        remedy: what to do; empty where nothing is to be done.
    """

    status: str
    title: str
    text: str
    remedy: str = ''

    @property
    def lines(self) -> list[str]:
        """For a terminal."""
        first, *others = self.text.splitlines() or ['']
        lines = [f'{self.status}  {self.title:{_TITLE_WIDTH}}  {first}']
        lines += [' ' * (_TITLE_WIDTH + 10) + line.strip() for line in others]
        return lines + [' ' * (_TITLE_WIDTH + 10) + f'-> {self.remedy}'] * bool(self.remedy)


class CheckList:
    """Takes down checks in the order they are made.

    Args:
        show: is given each line as soon as it is known; None prints them on what is the standard output now.
    """

    def __init__(self, show: Callable[[str], Any] | None = None) -> None:
        stream = sys.stdout  # a run's own lines are kept from the terminal by exchanging it
        self.checks: list[Check] = []
        self._show = show or (lambda text: print(text, file=stream, flush=True))

    def add(self, status: str, title: str, text: str, remedy: str = '') -> None:
        check = Check(status, title, text, remedy)
        self.checks.append(check)
        for line in check.lines:
            self._show(line)

    def passed(self, title: str, text: str) -> None:
        self.add(PASSED, title, text)

    def warned(self, title: str, text: str, remedy: str = '') -> None:
        self.add(WARNED, title, text, remedy)

    def failed(self, title: str, text: str, remedy: str = '') -> None:
        self.add(FAILED, title, text, remedy)

    @contextmanager
    def section(self, title: str) -> Iterator[None]:
        """What goes wrong inside becomes a failed check, and what follows is still looked at.

        A mistake of the user's has its own sentence. Anything else, such as an error in somebody's own component, is
        named with the line of code that it came from.
        """
        try:
            yield
        except DetkitError as error:
            self.failed(title, str(error))
        except Exception as error:  # whatever a component raises would end a run in the same way
            text, remedy = _out_of_memory(error) or (f'{type(error).__name__}: {error}{_place(error)}', '')
            self.failed(title, text, remedy)

    def count(self, status: str) -> int:
        return sum(check.status == status for check in self.checks)

    @property
    def summary(self) -> str:
        """Such as '12 passed, 1 warned, 0 failed'."""
        return ', '.join(f'{self.count(status)} {status}' for status in (PASSED, WARNED, FAILED))

    def as_dicts(self) -> list[dict[str, str]]:
        return [asdict(check) for check in self.checks]


def _out_of_memory(error: Exception) -> tuple[str, str] | None:
    if isinstance(error, MemoryError) or 'out of memory' in str(error).lower():
        return (
            f'memory ran out: {str(error).splitlines()[0] if str(error) else type(error).__name__}',
            'a smaller batch_size or img_size, or mixed precision (optim_wrapper.amp=True)',
        )
    return None


def _place(error: Exception) -> str:
    """Where an error came from: the innermost line of detkit or of a user's own code, or else the innermost of all."""
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
