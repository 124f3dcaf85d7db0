"""The values that config files define, and those of files that have run before.

Inheritance runs a file several times: as a base of several files, with what each of its children replaces, and with an
option and without it. Most of the variables that differ between two such runs have no meaning for most of the files.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from detkit.config.failures import Variable
from detkit.config.origins import Origins
from detkit.config.source import read_source
from detkit.utils.errors import ConfigError


@dataclass
class Executed:
    """The values that a config file and its bases define.

    Attributes:
        values: the merged top-level names, plain dicts and lists.
        origins: where each value was set.
        files: the file and its bases, in the order they ran.
        assigned: the top-level names that any of the files assigns.
        read: the names that any of the files reads.
        conflict: the error of two bases that set one key differently.
        import_folders: where the modules of ``custom_imports`` lie: of each file that sets it, the last one first, its
            own folder, or the ``folder`` that it names.
    """

    values: dict[str, Any] = field(default_factory=dict)
    origins: Origins = field(default_factory=Origins)
    files: list[Path] = field(default_factory=list)
    assigned: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)
    conflict: ConfigError | None = None
    import_folders: list[str] = field(default_factory=list)

    def copy(self) -> 'Executed':
        """Return a copy of which everything may be changed."""
        return Executed(
            plain(self.values),
            self.origins.copy(),
            list(self.files),
            set(self.assigned),
            set(self.read),
            self.conflict,
            list(self.import_folders),
        )


@dataclass(frozen=True, eq=False)
class _Run:
    """A run of a file and its bases.

    Attributes:
        files: the texts of the file and its bases.
        variables: what it was given that is named in any of them.
        executed: what they define.
    """

    files: dict[Path, str]
    variables: dict[str, Variable]
    executed: Executed


# Runs of files that compute their values from nothing but their texts and their variables; the file used last is last.
_closed_runs: OrderedDict[Path, list[_Run]] = OrderedDict()
_MOST_FILES, _MOST_RUNS = 512, 8
_lock = Lock()


class ExecutedFiles:
    """The files that have run while one config loads, with the variables that they were given.

    Of earlier loads in this process those are known, too, whose values can only be the same again.
    """

    def __init__(self) -> None:
        self._open_runs: dict[Path, list[_Run]] = {}
        self._texts: dict[Path, str | None] = {}

    def find(self, path: Path, variables: Mapping[str, Variable]) -> Executed | None:
        """Return what a file and its bases define with these variables; None where they did not run with them yet."""
        with _lock:
            closed = _closed_runs.get(path, ())
            if closed:
                _closed_runs.move_to_end(path)
        for run in (*self._open_runs.get(path, ()), *closed):
            given = _that_matter(run.files, variables)
            if (
                given.keys() == run.variables.keys()
                and all(_is_same(name, given[name], run.variables[name]) for name in given)
                and all(self._text(file) == text for file, text in run.files.items())
            ):
                for name, variable in given.items():
                    variable.replaced = run.variables[name].replaced
                return run.executed.copy()
        return None

    def add(self, path: Path, variables: Mapping[str, Variable], executed: Executed) -> None:
        """Keep a copy of what a file and its bases define."""
        sources = [read_source(file) for file in executed.files]
        files = {file: source.text for file, source in zip(executed.files, sources, strict=True)}
        run = _Run(files, _that_matter(files, variables), executed.copy())
        if not all(source.is_closed for source in sources):
            self._open_runs.setdefault(path, []).append(run)
            return
        with _lock:
            _closed_runs[path] = [run, *_closed_runs.pop(path, ())][:_MOST_RUNS]
            if len(_closed_runs) > _MOST_FILES:
                _closed_runs.popitem(last=False)

    def _text(self, path: Path) -> str | None:
        """Return the text of a file, read once; None where it cannot be read any more."""
        if path not in self._texts:
            try:
                self._texts[path] = read_source(path).text
            except (ConfigError, OSError):
                self._texts[path] = None
        return self._texts[path]


def _that_matter(files: Mapping[Path, str], variables: Mapping[str, Variable]) -> dict[str, Variable]:
    """Return the variables whose names are written in any of the files."""
    return {name: variable for name, variable in variables.items() if any(name in text for text in files.values())}


_CONTAINERS = (dict, list, tuple, np.ndarray, np.generic)


def plain(value: Any) -> Any:
    """``value`` with its dicts and lists copied into plain ones, NumPy's arrays and numbers as lists and numbers."""
    if isinstance(value, dict):
        return {key: plain(item) if isinstance(item, _CONTAINERS) else item for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) if isinstance(item, _CONTAINERS) else item for item in value]
    if isinstance(value, tuple) and not hasattr(value, '_fields'):
        return tuple(plain(item) if isinstance(item, _CONTAINERS) else item for item in value)
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _is_same(name: str, one: Variable, other: Variable) -> bool:
    return one is other or (
        _is_equal(one.value, other.value) and one.origins.of_name(name) == other.origins.of_name(name)
    )


def _is_equal(one: Any, other: Any) -> bool:
    """Return whether two values are equal and of the same types; False for what only its class could compare."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(_is_equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_is_equal, one, other))
    return isinstance(one, str | int | float) and one == other
