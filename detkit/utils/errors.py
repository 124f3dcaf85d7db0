"""Errors for mistakes that a user can correct. Command lines print their text alone, without a traceback."""

import errno
import os
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import SequenceMatcher, get_close_matches
from pathlib import Path
from types import FrameType
from typing import Any

from detkit.utils.printable import printable, shortened


class DetkitError(Exception):
    """A mistake that a user can correct. The text says what was wrong, where, what was expected, and what to do.

    What it quotes from a file is shown without control characters, and long values without their middle.
    """

    def __str__(self) -> str:
        return shortened(printable(super().__str__()))


class ConfigError(DetkitError):
    """A config file, or an option given on the command line, is wrong."""


class ComponentError(ConfigError):
    """A component's constructor refused a value that a config gave it, or the component does not keep its contract.

    Attributes:
        component: the registered name; '' for an error that a worker process raised.
        settings: the arguments that it was given, as far as the error concerns them.
        owners: name and arguments of each component that it was built for, from the inside out.
    """

    def __init__(self, text: str, component: str = '', settings: Mapping[str, Any] | None = None) -> None:
        super().__init__(text)
        self.component = component
        self.settings = settings or {}
        self.owners: list[tuple[str, Mapping[str, Any]]] = []


class DataError(DetkitError):
    """A folder, an annotation file or an image is missing or wrong."""


class CheckpointError(DetkitError):
    """A checkpoint is missing, truncated, foreign, or does not fit the model."""


class MissingPackageError(DetkitError, ImportError):
    """A package that detkit can do without is not installed, but was asked for."""


def nearest(name: object, choices: Iterable[str], count: int = 3, cutoff: float = 0.6) -> str:
    """Return a hint at the names closest to ``name``, to be appended to an error's text.

    Args:
        name: the name that was not found.
        choices: the names that exist.
        count: the number of names in the hint, at most.
        cutoff: the least similarity (0 to 1) of a name in the hint.

    Returns:
        ``" Did you mean 'a' or 'b'?"`` (with its leading space), or an empty string when nothing is close.
    """
    by_lower_case = {str(choice).lower(): str(choice) for choice in choices}
    found = [by_lower_case[key] for key in get_close_matches(str(name).lower(), by_lower_case, n=count, cutoff=cutoff)]
    if not found:
        return ''
    quoted = [repr(choice) for choice in found]
    return f' Did you mean {" or ".join(quoted)}?'


def nearest_first(name: object, choices: Iterable[object], count: int = 10) -> str:
    """Return at most ``count`` of ``choices``, the most similar to ``name`` first, as an error lists them."""
    texts = [str(choice) for choice in choices]
    ordered = sorted(texts, key=lambda text: -_similarity(str(name), text))  # stable: ties keep their order
    rest = len(ordered) - count
    return ', '.join(ordered[:count]) + (f', and {rest} more' if rest > 0 else '') if texts else '(none)'


def refuse_long_name(path: str | os.PathLike, kind: type[DetkitError]) -> None:
    """Raise an error of a kind for a path that no file can have, as it is too long for the system."""
    try:
        os.lstat(path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            name = os.fspath(path)
            raise kind(f"'{name[:60]}…' with its {len(name)} characters is too long for the path of a file") from error
    except ValueError:  # it holds a NUL, and does not exist
        return


def absence(path: str | os.PathLike) -> str:
    """Return how a path fails to be the file or the folder that is expected there, to follow its name in an error."""
    if not os.path.lexists(path):
        return 'does not exist'
    if not os.path.exists(path):
        return f'is a link to {os.readlink(path)!r}, which does not exist'
    if os.path.isdir(path):
        return 'is a folder'
    return 'is a file' if os.path.isfile(path) else 'is a pipe, a socket or a device'


def working_folder(*parts: str | os.PathLike) -> str:
    """Return " (working directory ...)" for an error on a path that starts from it, and nothing for an absolute one.

    Args:
        *parts: folders and name of the path, as ``os.path.join`` takes them.
    """
    return '' if os.path.isabs(os.path.join(*parts)) else f' (working directory {os.getcwd()})'


def shorten(names: Iterable[object], count: int = 3) -> str:
    """Return the first ``count`` names, for an error that may concern hundreds."""
    names = [str(name) for name in names]
    return ', '.join(names[:count]) + (', ...' if len(names) > count else '')


def _similarity(name: str, text: str) -> float:
    return SequenceMatcher(None, name.lower(), text.lower()).ratio()


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text that holds something; its class where there is none."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def frames_of(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    """Return the frames that an error passed through, the innermost first, with the line of each."""
    return reversed(list(traceback.walk_tb(error.__traceback__)))


def in_packages(frame: FrameType, packages: Collection[str]) -> bool:
    """Return whether the code of a frame is part of one of the top-level packages or modules."""
    return str(frame.f_globals.get('__name__')).partition('.')[0] in packages


def reason_of(error: BaseException, packages: Collection[str] = ()) -> str:
    """Return the type and text of an unforeseen error, and where it was raised.

    Args:
        error: as it was caught.
        packages: top-level packages whose innermost line is named in place of the line that raised the error.
    """
    frames = list(frames_of(error))
    frame, line = next(((each, number) for each, number in frames if in_packages(each, packages)), frames[0])
    return f'{type(error).__name__}: {error} ({Path(frame.f_code.co_filename).name}:{line})'
