"""Where each value of a config was set: file and line."""

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KeyPath = tuple[str | int, ...]


def dotted(path: KeyPath) -> str:
    """``('model', 'neck', 0, 'type')`` -> ``'model.neck.0.type'``, as ``--cfg-options`` spells it."""
    return '.'.join(str(part) for part in path)


@dataclass(frozen=True)
class Origin:
    """The place that set a value.

    Attributes:
        file: None is the command line.
        line: 0 is unknown.
        by_option: the line stands in the file, but an option on the command line changed what it gives.
    """

    file: Path | None
    line: int = 0
    by_option: bool = False

    def __str__(self) -> str:
        if self.file is None:
            return 'command line'
        shown = os.path.relpath(self.file)
        shown = str(self.file) if shown.startswith('..') else shown
        shown = f'{shown}:{self.line}' if self.line else shown
        return f'{shown} (changed by an option)' if self.by_option else shown


COMMAND_LINE = Origin(None)


class Origins:
    """A map from key paths to :class:`Origin`; a path without an entry has its parent's."""

    def __init__(self) -> None:
        self._entries: dict[KeyPath, Origin] = {}

    def set(self, path: KeyPath, origin: Origin) -> None:
        """Say that everything at and below ``path`` was set at ``origin``."""
        self._forget(path)
        self._entries[path] = origin

    def copy_below(self, path: KeyPath, other: 'Origins') -> None:
        """Take over what ``other`` says of ``path`` and everything below it."""
        self._forget(path)
        self._entries[path] = other.find(path)
        self._entries.update({p: origin for p, origin in other._entries.items() if p[:len(path)] == path})

    def add(self, path: KeyPath, origin: Origin) -> None:
        """Say where ``path`` was set, leaving what is known of the paths below it."""
        self._entries[path] = origin

    def find(self, path: KeyPath) -> Origin:
        """The origin of ``path``, or of the nearest of its parents that has one."""
        for length in range(len(path), 0, -1):
            if path[:length] in self._entries:
                return self._entries[path[:length]]
        return COMMAND_LINE

    def _forget(self, path: KeyPath) -> None:
        self._entries = {p: origin for p, origin in self._entries.items() if p[:len(path)] != path}


def lines_of(tree: ast.Module) -> dict[KeyPath, int]:
    """The line of every key that a config file sets at its top level.

    Follows ``dict(...)`` calls, dict, list and tuple displays, and names that were assigned earlier in the file.
    """
    lines: dict[KeyPath, int] = {}
    values: dict[str, ast.expr] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            names = [target.id for target in statement.targets if isinstance(target, ast.Name)]
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            names = [statement.target.id]
        else:
            continue
        for name in names:
            lines = {path: line for path, line in lines.items() if path[0] != name}
            lines[(name,)] = statement.lineno
            lines.update(_lines_below(statement.value, (name,), values))
        values.update(dict.fromkeys(names, statement.value))
    return lines


def _lines_below(node: ast.expr, path: KeyPath, values: dict[str, ast.expr]) -> Iterator[tuple[KeyPath, int]]:
    if isinstance(node, ast.Name) and node.id in values:
        # A name may be bound anew from itself (x = [x, ...]): what it stood for before is all that it can mean.
        earlier = {name: value for name, value in values.items() if name != node.id}
        yield from _lines_below(values[node.id], path, earlier)
    for key, value in _items(node):
        here = (*path, key)
        yield here, value.lineno
        yield from _lines_below(value, here, values)


def _items(node: ast.expr) -> list[tuple[str | int, ast.expr]]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        return [(keyword.arg, keyword.value) for keyword in node.keywords if keyword.arg is not None]
    if isinstance(node, ast.Dict):
        return [(key.value, value) for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant)]
    if isinstance(node, ast.List | ast.Tuple) and not any(isinstance(item, ast.Starred) for item in node.elts):
        return list(enumerate(node.elts))
    return []


def leaves(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Every value below ``value`` that is no dict and no list of dicts, with its path, in the order of the config."""
    if isinstance(value, dict) and value:
        children = list(value.items())
    elif isinstance(value, list | tuple) and any(isinstance(item, dict) for item in value):
        children = list(enumerate(value))
    else:
        yield path, value
        return
    for key, child in children:
        yield from leaves(child, (*path, key))
