"""A loaded config written as one Python file, with its variables or as plain values."""

import ast
import builtins
import keyword
import pprint
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from detkit.config.executed import plain
from detkit.config.keys import TOP_LEVEL_KEYS
from detkit.config.options import Option
from detkit.config.origins import KeyPath, Origins
from detkit.config.source import PURE_FUNCTIONS, read_source

_WIDTH = 110
_HEADER, _HEADER_END = '# Resolved from ', '. Variables reach what is built from them, as in that file.'
# Keys that concern one run alone, and that a run made from its config does not take over.
OF_ONE_RUN = {'work_dir': None, 'resume': False, 'launcher': 'none'}
_OWN = ('origins', 'wired', 'loaded_files', 'loaded_options')


class LoadedConfig(Config):
    """A config that knows where its values were set.

    Attributes:
        origins: the file and line of each value.
        wired: the keys that were filled in from the data, which a config file leaves out.
        loaded_files: the config file and its bases.
        loaded_options: the options that it was loaded with.
    """

    def __init__(
        self,
        values: dict[str, Any],
        filename: str,
        origins: Origins,
        wired: frozenset[KeyPath],
        files: Sequence[Path] = (),
        options: Sequence[Option] = (),
    ) -> None:
        text = read_source(Path(filename)).text if filename else ''
        super().__init__(values, cfg_text=text, filename=filename)
        self._set_own(origins, wired, tuple(files), tuple(options))

    def __getstate__(self) -> tuple:
        return (*super().__getstate__(), tuple(getattr(self, name) for name in _OWN))

    def __setstate__(self, state: tuple) -> None:
        super().__setstate__(state[:-1])
        self._set_own(*state[-1])

    def _set_own(self, *values: Any) -> None:
        # As Config keeps its own attributes; a plain assignment would set a key.
        for name, value in zip(_OWN, values, strict=True):
            object.__setattr__(self, name, value)


def origins_of(config: Config | dict) -> Origins | None:
    """Return where the values of a config were set; None for one that no file was read for."""
    return config.origins if isinstance(config, LoadedConfig) else None


def literal_text(config: Config | dict) -> str:
    """Return the runner's keys of a config as assignments of plain values, wired ones included.

    It needs no other file and no data, and can be read without running it: the form that a checkpoint holds.
    """
    values = plain(config.to_dict() if isinstance(config, Config) else dict(config))
    return ''.join(
        f'{key} = {pprint.pformat(value, width=_WIDTH, sort_dicts=False)}\n'
        for key, value in values.items()
        if key in TOP_LEVEL_KEYS
    )


def resolved_text(config: Config, origin: str | None = None, start_line: str = '') -> str:
    """Return a config as one Python file that loads to the same, and in which variables still reach what they did.

    ``train_cfg = dict(max_epochs=max_epochs)`` stays so where the value is the variable's; where it is not (an option
    gave another) the value itself is written. Values that were wired from the data are left out, so that the file can
    be used with other data.

    Args:
        config: the config.
        origin: the file that the first line names, see ``origin_of_resolved``; None for the config's own.
        start_line: the second line, see ``detkit.config.start``.
    """
    origins = origins_of(config)
    if origins is None:
        return literal_text(config)
    values = plain(config.to_dict())
    for path in config.wired:
        _remove(values, path)
    values |= {key: value for key, value in OF_ONE_RUN.items() if key in values}
    return f'{_HEADER}{origin or config.filename}{_HEADER_END}\n{start_line}' + _Writer(values, origins).text()


def origin_of_resolved(path: str | Path) -> str | None:
    """Return the file that a resolved config was made of, as its first line says; None for any other file."""
    try:
        with open(path, encoding='utf-8-sig') as file:
            first = file.readline().rstrip('\n')
    except (OSError, UnicodeDecodeError):
        return None
    is_resolved = first.startswith(_HEADER) and first.endswith(_HEADER_END)
    return first[len(_HEADER) : -len(_HEADER_END)] if is_resolved else None


def _remove(values: Any, path: KeyPath) -> None:
    for key in path[:-1]:
        values = values.get(key) if isinstance(values, dict) else None
    if isinstance(values, dict):
        values.pop(path[-1], None)


class _Writer:
    """Writes top-level names, each behind those that its expressions read."""

    def __init__(self, values: dict[str, Any], origins: Origins) -> None:
        self.values = values
        self.origins = origins
        self.functions = {
            name: getattr(builtins, name) for name in PURE_FUNCTIONS
        }  # what else an expression names is a variable
        self.written: dict[str, str] = {}
        self.begun: list[str] = []

    def text(self) -> str:
        for name in self.values:
            if name in TOP_LEVEL_KEYS:
                self.write(name)
        return ''.join(f'{name} = {text}\n' for name, text in self.written.items())

    def write(self, name: str) -> None:
        if name in self.written:
            return
        self.begun.append(name)
        text = self.render(self.values[name], (name,), 0)
        self.begun.pop()
        self.written[name] = text

    def render(self, value: Any, path: KeyPath, indent: int) -> str:
        expression = self.expression(value, path)
        if expression:
            return _spread(ast.parse(expression, mode='eval').body, indent)
        changed = self.changed(value, path, indent)
        if changed:
            return changed
        items = list(self.items(value, path, indent))
        if not items:
            return repr(value)
        opening, closing = ('dict(', ')') if _is_call(value) else repr(type(value)())
        comma = ',' if isinstance(value, tuple) and len(items) == 1 else ''
        line = f'{opening}{", ".join(items)}{comma}{closing}'
        if len(line) + indent <= _WIDTH and '\n' not in line:
            return line
        margin = ' ' * (indent + 4)
        if not any(isinstance(item, dict | list | tuple) for item in _children(value)):
            return f'{opening}\n{_filled(items, margin)}{" " * indent}{closing}'
        return f'{opening}\n' + ''.join(f'{margin}{item},\n' for item in items) + ' ' * indent + closing

    def items(self, value: Any, path: KeyPath, indent: int) -> Iterator[str]:
        if isinstance(value, dict):
            for key, item in value.items():
                name = f'{key}=' if _is_call(value) else f'{key!r}: '
                yield name + self.render(item, (*path, key), indent + 4)
        elif isinstance(value, list | tuple):
            for i, item in enumerate(value):
                yield self.render(item, (*path, i), indent + 4)

    def expression(self, value: Any, path: KeyPath) -> str:
        """Return the expression of variables that the files give the value by; empty if it does not give it."""
        text = self.origins.expression(path)
        reads, given = self.evaluate(text)
        if not reads or given != value or type(given) is not type(value):
            return ''
        for name in reads:
            self.write(name)
        return text

    def changed(self, value: Any, path: KeyPath, indent: int) -> str:
        """Return an expression that takes in a dict (``**name``), and what the value has otherwise than it gives.

        The keys of the dict that is taken in depend on variables, so that they cannot be written one by one.
        """
        text = self.origins.expression(path)
        node = ast.parse(text, mode='eval').body if text and isinstance(value, dict) else None
        if not isinstance(node, ast.Call) or all(item.arg for item in node.keywords):
            return ''
        reads, given = self.evaluate(text)
        if not reads or not isinstance(given, dict) or not set(given) <= set(value):
            return ''
        for name in reads:
            self.write(name)
        others = {key: item for key, item in value.items() if key not in given or given[key] != item}
        return f'{text} | dict({", ".join(self.items(others, path, indent))})'

    def evaluate(self, text: str) -> tuple[list[str], Any]:
        """Return the variables that an expression reads, and its value; none where it cannot stand in this file."""
        names = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
        reads = [name for name in self.values if name in names]
        if not reads or any(name in self.begun for name in reads):
            return [], None
        try:
            return reads, eval(text, {'__builtins__': self.functions, **{name: self.values[name] for name in reads}})
        except Exception:  # it names a function or a private value of the file, which this one does not have
            return [], None


def _spread(node: ast.expr, indent: int) -> str:
    """Return the source of an expression, a list or a call of ``dict`` that is too long for a line an item a line."""
    text = ast.unparse(node)
    if len(text) + indent <= _WIDTH:
        return text
    margin = ' ' * (indent + 4)
    if isinstance(node, ast.Starred) and isinstance(node.value, ast.Subscript):
        return f'*{_spread(node.value, indent)}'
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Call):
        return f'{_spread(node.value, indent)}[{ast.unparse(node.slice)}]'
    if isinstance(node, ast.List):
        items, opening, closing = [_spread(item, indent + 4) for item in node.elts], '[', ']'
    elif isinstance(node, ast.Call) and not node.args:
        items = [f'{item.arg}={_spread(item.value, indent + 4)}' for item in node.keywords if item.arg]
        items += [f'**{ast.unparse(item.value)}' for item in node.keywords if not item.arg]
        opening, closing = f'{ast.unparse(node.func)}(', ')'
    else:
        return text
    return f'{opening}\n' + ''.join(f'{margin}{item},\n' for item in items) + ' ' * indent + closing


def _is_call(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(key, str) and key.isidentifier() and not keyword.iskeyword(key) for key in value
    )


def _children(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else list(value)


def _filled(items: list[str], margin: str) -> str:
    """Return short items side by side, as many as a line takes."""
    lines = ['']
    for item in items:
        if lines[-1] and len(margin) + len(lines[-1]) + len(item) + 2 > _WIDTH:
            lines.append('')
        lines[-1] += f'{" " if lines[-1] else ""}{item},'
    return ''.join(f'{margin}{line}\n' for line in lines)
