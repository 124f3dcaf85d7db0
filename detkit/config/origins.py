"""The file and line that set each value of a config."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from operator import getitem
from pathlib import Path
from typing import Any

from detkit.utils.front_end import options_source

KeyPath = tuple[str | int, ...]


def dotted(path: KeyPath) -> str:
    """Return a path as ``--cfg-options`` writes it: ``('model', 'neck', 0)`` gives ``'model.neck.0'``."""
    return '.'.join(str(part) for part in path)


@dataclass(frozen=True)
class Origin:
    """The file and line that set a value.

    Attributes:
        file: None is the options of a command or a call.
        line: 0 is unknown.
        changed_by: the file, or the command line, that replaced a variable from which the value is computed.
        expression: the source of the value, ``_base_.`` left out and private names replaced by their own; empty where
            unknown.
        variable: the variable, where this is what replaced one; empty where several were replaced at once.
    """

    file: Path | None
    line: int = 0
    changed_by: Origin | None = None
    expression: str = ''
    variable: str = ''

    def __str__(self) -> str:
        if self.file is None:
            return options_source()
        shown = os.path.relpath(self.file)
        shown = str(self.file) if shown.startswith('..') else shown
        shown = f'{shown}:{self.line}' if self.line else shown
        if self.changed_by is None:
            return shown
        by = 'an option' if self.changed_by.file is None else self.changed_by
        return f'{shown} ({f"{self.changed_by.variable} changed by {by}".strip()})'


COMMAND_LINE = Origin(None)


class Origins:
    """A map from key paths to :class:`Origin`; a path without an entry has its parent's.

    Attributes:
        leaf: the config file itself, not one of its bases; None where unknown.
    """

    def __init__(self) -> None:
        self.leaf: Path | None = None
        # By the first name of the path: a change of one top-level name looks at no other.
        self._entries: dict[KeyPath, dict[KeyPath, Origin]] = {}

    def copy(self) -> Origins:
        """Return a copy that may be changed."""
        copied = Origins()
        copied.leaf = self.leaf
        copied._entries = {name: dict(entries) for name, entries in self._entries.items()}
        return copied

    def of_name(self, name: str) -> dict[KeyPath, Origin]:
        """Return the origins of a top-level name and of what is below it, by path."""
        return self._entries.get((name,), {})

    def set(self, path: KeyPath, origin: Origin) -> None:
        """Set the origin of ``path`` and of everything below it."""
        self._forget(path)
        self.add(path, origin)

    def copy_below(self, path: KeyPath, other: Origins, other_path: KeyPath | None = None) -> None:
        """Copy the origins of ``other_path`` (default: ``path``) and everything below it from ``other``."""
        other_path = path if other_path is None else other_path
        depth = len(other_path)
        theirs = other._entries.get(other_path[:1], {})
        copied = {path + p[depth:]: origin for p, origin in theirs.items() if p[:depth] == other_path}
        self.set(path, other.find(other_path))
        self._entries[path[:1]].update(copied)

    def copy_inside(self, path: KeyPath, other: Origins, other_path: KeyPath) -> None:
        """Copy the origins of everything below ``other_path``; ``path`` itself keeps its own."""
        itself = self.find(path)
        self.copy_below(path, other, other_path)
        self.add(path, itself)

    def add(self, path: KeyPath, origin: Origin) -> None:
        """Set the origin of ``path`` and leave those of the paths below it."""
        self._entries.setdefault(path[:1], {})[path] = origin

    def find(self, path: KeyPath) -> Origin:
        """Return the origin of ``path``, or of the nearest of its parents that has one."""
        entries = self._entries.get(path[:1], {})
        for length in range(len(path), 0, -1):
            if path[:length] in entries:
                return entries[path[:length]]
        return COMMAND_LINE

    def blame(self, path: KeyPath) -> Origin:
        """Return the origin of ``path`` as an error names it.

        Where a base set it, that is with the line of the config file, or the option, that changed something below it.
        """
        own = self.find(path)
        entries = self._entries.get(path[:1], {})
        below = [origin for found, origin in entries.items() if found[: len(path)] == path]
        for origin in (own, *reversed(below)):  # the last one set
            by = next((one for one in (origin, origin.changed_by) if one and one.file in (None, self.leaf)), None)
            if by is not None:
                return by if by is own else replace(own, changed_by=by)
        return self.blame(path[:-1]) if len(path) > 1 and isinstance(path[-1], int) else own  # a list is set as one

    def own_first(self, *paths: KeyPath) -> KeyPath:
        """Return the first of ``paths`` that the config file itself or an option sets; where none is, the first."""
        return next((path for path in paths if self.find(path).file in (None, self.leaf)), paths[0])

    def sources(self, path: KeyPath) -> set[str]:
        """Return the names that the expression of ``path`` reads, and those that these are computed from in turn."""
        found: set[str] = set()
        texts = [self.find(path).expression]
        while texts:
            new = _names_in(texts.pop()) - found
            found |= new
            texts += [self.expression((name,)) for name in new]
        return found

    def cause(self, path: KeyPath, values: Mapping[str, Any], changed: Mapping[str, Any]) -> str:
        """Return which of the variables that were changed the value at ``path`` is computed from.

        It is the only one that its expression reads, or of several, or of all where it reads none, the only one of its
        value; empty where that is not one.

        Args:
            path: where the value is.
            values: the config.
            changed: the variables and their values.
        """
        found = set(changed)
        if len(found) > 1:
            value = reduce(getitem, path, values)
            equal = {name for name, new in changed.items() if type(new) is type(value) and new == value}
            found = self.sources(path) & found or found
            found = found if len(found) == 1 else found & equal
        return found.pop() if len(found) == 1 else ''

    def expression(self, path: KeyPath) -> str:
        """Return the source that gives the value at ``path`` itself; empty where it is set with its parent."""
        entries = self._entries.get(path[:1], {})
        return entries[path].expression if path in entries else ''

    def _forget(self, path: KeyPath) -> None:
        entries = self._entries.get(path[:1], {})
        depth = len(path)
        self._entries[path[:1]] = {p: origin for p, origin in entries.items() if p[:depth] != path}


@lru_cache(maxsize=4096)
def _names_in(expression: str) -> frozenset[str]:
    return frozenset(re.findall(r'[A-Za-z_]\w*', expression))


def places_in(
    tree: ast.Module,
) -> tuple[dict[KeyPath, tuple[int, str]], dict[KeyPath, KeyPath], list[tuple[KeyPath, KeyPath]]]:
    """Return where a config file sets each value of its top level.

    Follows ``dict(...)`` calls, dict, list and tuple displays, and names that were assigned earlier in the file.

    Returns:
        The line and the source of each key path; for those whose value is ``_base_.a.b``, that key path of the bases;
        and the key paths of dicts that take in such a value (``**_base_.a.b``), with that key path.
    """
    places: dict[KeyPath, tuple[int, str]] = {}
    aliases: dict[KeyPath, KeyPath] = {}
    splats: list[tuple[KeyPath, KeyPath]] = []
    values: dict[str, ast.expr] = {}
    for statement in tree.body:
        if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
            continue
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        for target in targets:
            names = [node.id for node in ast.walk(target) if isinstance(node, ast.Name)]
            places = {path: place for path, place in places.items() if path[0] not in names}
            aliases = {path: alias for path, alias in aliases.items() if path[0] not in names}
            splats = [(path, alias) for path, alias in splats if path[0] not in names]
            places.update({(name,): (statement.lineno, '') for name in names})
            for name, value in _assigned_values(target, statement.value):
                for path, node in _nodes_below(value, (name,), values):
                    line = statement.lineno if path == (name,) else node.lineno
                    places[path] = (line, _source(node, values))
                    base_path = _base_path(node)
                    if base_path:
                        aliases[path] = base_path
                    if isinstance(node, ast.Call):
                        taken = [_base_path(item.value) for item in node.keywords if item.arg is None]
                        splats += [(path, base_path) for base_path in taken if base_path]
                values[name] = value
    return places, aliases, splats


def _assigned_values(target: ast.expr, value: ast.expr) -> list[tuple[str, ast.expr]]:
    """Return the names of a target, and what is assigned to each: ``a, b = pair`` gives a ``pair[0]``."""
    if isinstance(target, ast.Name):
        return [(target.id, value)]
    if not isinstance(target, ast.Tuple) or not all(isinstance(item, ast.Name) for item in target.elts):
        return []
    if isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts):
        return [(item.id, given) for item, given in zip(target.elts, value.elts, strict=True)]
    return [
        (item.id, ast.copy_location(ast.Subscript(value, ast.Constant(i), ast.Load()), value))
        for i, item in enumerate(target.elts)
    ]


def _nodes_below(node: ast.expr, path: KeyPath, values: dict[str, ast.expr]) -> Iterator[tuple[KeyPath, ast.expr]]:
    yield path, node
    if isinstance(node, ast.Name) and node.id in values:
        # A name may be bound anew from itself (x = [x, ...]): what it stood for before is all that it can mean.
        earlier = {name: value for name, value in values.items() if name != node.id}
        for below, inner in _nodes_below(values[node.id], path, earlier):
            if below != path:
                yield below, inner
    for key, value in _items(node):
        yield from _nodes_below(value, (*path, key), values)


def _source(node: ast.expr, values: dict[str, ast.expr]) -> str:
    """Return the source of an expression in terms of names that other files have: no private ones, no ``_base_``."""
    text = ast.unparse(node).replace('_base_.', '')
    if not re.search(r'\b_[A-Za-z]', text):
        return text
    return ast.unparse(_PublicNames(values).visit(deepcopy(node))).replace('_base_.', '')


class _PublicNames(ast.NodeTransformer):
    """Puts the expressions of private names in their place."""

    def __init__(self, values: dict[str, ast.expr]) -> None:
        self.values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if not node.id.startswith('_') or node.id == '_base_' or node.id not in self.values:
            return node
        earlier = {name: value for name, value in self.values.items() if name != node.id}
        return _PublicNames(earlier).visit(deepcopy(self.values[node.id]))


def _base_path(node: ast.expr) -> KeyPath:
    """``_base_.a.b`` -> ``('a', 'b')``; empty for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    return tuple(parts) if isinstance(node, ast.Name) and node.id == '_base_' else ()


def _items(node: ast.expr) -> list[tuple[str | int, ast.expr]]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        return [(keyword.arg, keyword.value) for keyword in node.keywords if keyword.arg is not None]
    if isinstance(node, ast.Dict):
        return [
            (key.value, value)
            for key, value in zip(node.keys, node.values, strict=True)
            if isinstance(key, ast.Constant)
        ]
    if isinstance(node, ast.List | ast.Tuple) and not any(isinstance(item, ast.Starred) for item in node.elts):
        return list(enumerate(node.elts))
    return []


def leaves(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield every value below ``value`` that is no dict and no list of dicts, with its path, in the config's order."""
    if isinstance(value, dict) and value:
        children = list(value.items())
    elif isinstance(value, list | tuple) and any(issubclass(kind, dict) for kind in {*map(type, value)}):
        children = list(enumerate(value))
    else:
        yield path, value
        return
    for key, child in children:
        yield from leaves(child, (*path, key))


def changed_leaves(before: dict[str, Any], after: dict[str, Any]) -> Iterator[KeyPath]:
    """Yield every path of ``after`` whose value differs from that in ``before``, or is absent there."""
    for name, changed in after.items():
        if name in before and before[name] == changed:
            continue  # and so is all that is below it
        old = dict(leaves(before[name], (name,))) if name in before else {}
        for path, value in leaves(changed, (name,)):
            if path not in old or old[path] != value:
                yield path
