"""Running one config file: the settings that its code leaves behind."""

import ast
import copy
from collections import UserDict
from collections.abc import Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np
from mmengine.config import ConfigDict

from detkit.config.executed import plain
from detkit.config.failures import Variable, failure
from detkit.config.keys import TOP_LEVEL_KEYS
from detkit.config.origins import KeyPath, Origin, dotted
from detkit.config.rewrite import BASE, FORMER_BASE, is_name
from detkit.config.source import Source
from detkit.utils.errors import ConfigError

# Levels of dicts and lists in each other; real configs have about ten.
_DEEPEST = 50
_CODE = (ModuleType, FunctionType, BuiltinFunctionType, type)


class _Names(UserDict):
    """The top-level names of a file that runs, of which given ones keep their values, whatever statement sets them.

    Attributes:
        data: the names and their values, which the file's functions read too.
        variables: the values that replace the file's own.
    """

    def __init__(self, data: dict[str, Any], variables: Mapping[str, Variable]) -> None:
        self.data, self.variables = data, variables

    def __setitem__(self, name: str, value: Any) -> None:
        self.data[name] = self.variables[name].instead_of(value) if name in self.variables else value


def run_file(
    source: Source, bases: dict[str, Any], former: dict[str, Any], variables: Mapping[str, Variable]
) -> dict[str, Any]:
    """Return the plain top-level names that the file itself assigns.

    Args:
        source: the file.
        bases: what ``_base_`` holds.
        former: the bases' values of names that the file computes anew from them.
        variables: values that replace the file's own.

    Raises:
        ConfigError: the code fails, changes what it must not, or sets something that is no plain value.
    """
    path, program = source.path, source.program(former)
    settings = {*TOP_LEVEL_KEYS, *bases}
    if not source.reads_base:
        bases = former = {}
    views = {BASE: ConfigDict(copy.deepcopy(bases)), FORMER_BASE: ConfigDict(copy.deepcopy(former))}
    namespace = {'__file__': str(path), '__name__': path.stem, **views}
    given = set(namespace)
    try:
        exec(program.code, namespace, _Names(namespace, variables))
    except (Exception, SystemExit) as error:
        raise failure(error, path, source.tree, namespace, variables) from error
    if not (views[BASE] == bases and views[FORMER_BASE] == former):
        raise ConfigError(
            f'{Origin(path, _changing_line(source.tree))} changes _base_ in place, which has no effect: assign a new '
            "value to a name instead; a dict is merged into the bases' one, so that it need hold what changes only"
        )
    own = {}
    for name, value in namespace.items():
        if name in given | program.imported or name.startswith('_') or isinstance(value, _CODE):
            continue
        if _depth_of(value) > _DEEPEST:
            raise ConfigError(
                f'{_origin(source, name)}: {name} holds itself, or is nested more than {_DEEPEST} levels deep; a '
                'config is written out'
            )
        odd = next(_odd_values(value, (name,)), None)
        if odd is None:
            own[name] = plain(value)
        elif name in settings or len(odd[0]) > 1:
            raise ConfigError(
                f'{_origin(source, name)}: {dotted(odd[0])} is a value of the type {type(odd[1]).__name__}, but a '
                'setting is a text, a number, or a list, tuple or dict of such: convert it'
            )
    _refuse_changes(source, own, variables)
    return own


def _refuse_changes(source: Source, own: Mapping[str, Any], variables: Mapping[str, Variable]) -> None:
    """Refuse a file that sets a replaced variable by other means than statements: what reads it would differ."""
    for name in own.keys() & variables.keys():
        if [own[name]] != [plain(variables[name].value)]:
            by = variables[name].origins.find((name,))
            raise ConfigError(
                f'{Origin(source.path, _changing_line(source.tree, name))} changes {name} in place, whose value comes '
                f'from {by}: write the whole value in one statement, {name} = ..., which can be replaced'
            )


def _origin(source: Source, name: str) -> Origin:
    return Origin(source.path, source.assigned.get(name, 0))


def _odd_values(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    """Yield the values at any depth that cannot be copied and compared, with their paths."""
    if value is None or isinstance(value, str | int | float | np.generic | np.ndarray):
        return
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _odd_values(item, (*path, key))
    elif not _equals_its_copy(value):
        yield path, value


def _equals_its_copy(value: Any) -> bool:
    try:
        return bool(copy.deepcopy(value) == value)
    except Exception:  # whatever a class of somebody else's raises: it can be no setting
        return False


def _depth_of(value: Any) -> int:
    """Return how deep dicts, lists and tuples are nested, at most one more than ``_DEEPEST``."""
    level, depth = {id(value): value}, 0
    while level and depth <= _DEEPEST:
        level = {
            id(item): item
            for outer in level.values()
            if isinstance(outer, dict | list | tuple)
            for item in (outer.values() if isinstance(outer, dict) else outer)
        }
        depth += 1
    return depth


def _changing_line(tree: ast.Module, name: str = '') -> int:
    """Return the line of the first statement that may change a value (of ``name``) in place; 0 for none."""
    for statement in tree.body:
        nodes = list(ast.walk(statement))
        stored = [node for node in nodes if isinstance(node, ast.Subscript | ast.Attribute)]
        calls = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
        mentions = not name or any(is_name(node, name) or isinstance(node, ast.Global) for node in nodes)
        if mentions and (calls or any(not isinstance(node.ctx, ast.Load) for node in stored)):
            return statement.lineno
    return 0
