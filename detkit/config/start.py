"""The files and options that a run was started with, by which a resumed run recognises that a file was edited since."""

import ast
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from detkit import __version__
from detkit.config.difference import ABSENT, Difference, config_differences, shown
from detkit.config.keys import TOP_LEVEL_KEYS
from detkit.config.load import load_config
from detkit.config.names import config_name
from detkit.config.options import Option
from detkit.config.resolve import OF_ONE_RUN, LoadedConfig
from detkit.config.source import read_source
from detkit.utils.errors import ConfigError

_PREFIX = '# Started with '
_MOST_SHOWN = 8


@dataclass(frozen=True)
class Start:
    """The files and options of a run's start.

    Attributes:
        options: the options, those of later resumptions included, as keys and values.
        files: a digest of the text of the config and of each of its bases, by the path from the config's folder; of
            detkit's own files the config itself alone.
        version: detkit's.
        source: the start of the run whose own config the config was; None where it was no run's.
    """

    options: dict[str, Any]
    files: dict[str, str]
    version: str
    source: 'Start | None' = None

    def line(self) -> str:
        """Return the line of a run's config that ``start_of`` reads; empty where an option's value is no literal."""
        text = ascii(self._values())
        return f'{_PREFIX}{text}\n' if _literal(text) is not None else ''

    def _values(self) -> dict[str, Any]:
        values = {'options': self.options, 'files': self.files, 'detkit': self.version}
        return values if self.source is None else {**values, 'source': self.source._values()}

    def earlier(self, steps: int) -> 'Start | None':
        """Return the start that is so many steps back, with the options given since; None where it is not known.

        0 is the run's own start, 1 that of the run whose config it was made from, and so on.
        """
        if not steps:
            return self
        found = None if self.source is None else self.source.earlier(steps - 1)
        return None if found is None else replace(found, options=found.with_options(_as_options(self.options)))

    def with_options(self, options: Iterable[Option]) -> dict[str, Any]:
        """Return the options and further ones, without those that say where one process begins.

        The last value of a key counts, in its place.
        """
        found = dict(self.options)
        for option in options:
            if option.key not in OF_ONE_RUN:
                found.pop(option.key, None)
                found[option.key] = option.value
        return found

    def is_edited(self, path: Path) -> bool:
        """Return whether ``path``, which the run was started with, or one of its bases has another text now.

        A file of detkit's is compared with that of the same version alone.
        """
        if path.name not in self.files or config_name(path) is not None and self.version != __version__:
            return False
        return any(_digest(path.parent / name) != digest for name, digest in self.files.items())


def start_line(config: Config, own: Path | None = None) -> str:
    """Return the line of a run's own config that ``start_of`` reads.

    Args:
        config: the config that the run is started or resumed with.
        own: the run's own config, where it is resumed with that one: what was written then is kept, and the options
            of the resumption are added.
    """
    if not isinstance(config, LoadedConfig):
        return ''
    former = start_of(own) if own is not None else _start(config)
    return '' if former is None else replace(former, options=former.with_options(config.loaded_options)).line()


def _start(config: LoadedConfig) -> Start:
    leaf = Path(config.filename).absolute()
    tracked = [file for file in map(Path.absolute, config.loaded_files) if file == leaf or config_name(file) is None]
    files = {Path(os.path.relpath(file, leaf.parent)).as_posix(): _digest(file) for file in tracked}
    return Start({}, files, __version__, start_of(leaf))


def start_of(path: Path) -> Start | None:
    """Return what the run was started with whose own config is ``path``; None where the file does not say it."""
    try:
        with open(path, encoding='utf-8-sig') as file:
            lines = [file.readline(), file.readline()]
    except (OSError, UnicodeDecodeError):
        return None
    found = _literal(lines[1].removeprefix(_PREFIX)) if lines[1].startswith(_PREFIX) else None
    return _start_from(found)


def _start_from(found: Any) -> Start | None:
    if not isinstance(found, dict):
        return None
    values = [found.get('options'), found.get('files'), found.get('detkit')]
    if not all(isinstance(value, kind) for value, kind in zip(values, (dict, dict, str), strict=True)):
        return None
    return Start(*values, _start_from(found.get('source')))


def edits(former: Start, path: Path, options: Sequence[Option], own: LoadedConfig) -> list[Difference]:
    """Return what a config, edited since a run was started with it, says otherwise than the run's own config.

    Where a variable of both differs, the values that are computed from it are left out.

    Args:
        former: what the run was started with.
        path: the config as it is now.
        options: the options that the run is resumed with.
        own: the run's own config, with these options.

    Raises:
        ConfigError: the config cannot be loaded any more, with the options that the run was started with.
    """
    known = _as_options(former.with_options(options))
    now = load_config(path, known, need_classes=False)
    found = [each for each in config_differences(own, now) if _root(each) not in OF_ONE_RUN]
    variables = {_root(each) for each in found if not (ABSENT in each[1:3] or _root(each) in TOP_LEVEL_KEYS)}
    return [
        each
        for each in found
        if _root(each) in variables
        or (_root(each) in TOP_LEVEL_KEYS and not now.origins.sources(each.other_path) & variables)
    ]


def edit_lines(differences: Sequence[Difference]) -> str:
    """Return differences between a run's own config and an edited one as the lines of an error."""
    lines = [f'\n  {each.key}: {shown(each.second)}, in the run {shown(each.first)}' for each in differences]
    more = len(lines) - _MOST_SHOWN
    return ''.join(lines[:_MOST_SHOWN]) + (f'\n  and {more} more' if more > 0 else '')


def _root(difference: Difference) -> str:
    return str((difference.other_path if difference.first is ABSENT else difference.path)[0])


def _as_options(values: Mapping[str, Any]) -> list[Option]:
    return [Option(key, value, adds=True) for key, value in values.items()]


def _digest(path: Path) -> str:
    """Return a digest of a file's text; empty where it cannot be read."""
    try:
        text = read_source(path).text
    except (ConfigError, OSError):
        return ''
    return hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:16]


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
