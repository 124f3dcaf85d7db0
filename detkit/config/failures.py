"""The errors of config files whose code fails or has no effect, with the value from elsewhere that is the cause."""

import ast
import copy
from collections.abc import Container, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detkit.config.keys import PLAIN_KEYS, TOP_LEVEL_KEYS
from detkit.config.origins import Origin, Origins
from detkit.config.rewrite import BASE, FORMER_BASE, names_read
from detkit.config.source import Source
from detkit.config.value_types import check_value
from detkit.utils.errors import ConfigError, nearest, nearest_first


@dataclass
class Variable:
    """A value that replaces what files assign to a name.

    Attributes:
        value: the value.
        origins: where it was set.
        replaced: the value that the files assign; None where none of them has run yet.
    """

    value: Any
    origins: Origins
    replaced: Any = None

    def instead_of(self, replaced: Any) -> Any:
        """Return a copy of the value, and note what it replaces."""
        self.replaced = replaced
        return copy.deepcopy(self.value)


def failure(
    error: Exception, path: Path, tree: ast.Module, namespace: dict[str, Any], variables: Mapping[str, Variable]
) -> ConfigError:
    """Return the error of a file whose code raised ``error``.

    Args:
        error: what was raised.
        path: the file.
        tree: its syntax tree, as it is written.
        namespace: the names that the file had set by then.
        variables: values that replace those that files assign.
    """
    line = _failing_line(error, path)
    at, read = Origin(path, line), _variables_read(tree, line, variables)
    for name in read.keys() & PLAIN_KEYS.keys():
        try:
            check_value(read[name].value, PLAIN_KEYS[name], (name,), read[name].origins)
        except ConfigError as cause:
            return cause
    lookup = _failed_lookup(tree, line, namespace)
    text = f'{type(error).__name__}: {error}.{_hint(error, namespace)}'
    if lookup is not None:
        table, key, choices = lookup
        for name, variable in read.items():
            if variable.value == key and table != BASE:
                return ConfigError(
                    f'{variable.origins.find((name,))}: {name} is {key!r}, but must be one of '
                    f'{nearest_first(key, choices)}, which {at} chooses from.{nearest(key, choices)}'
                )
        text = f'{table} has no {key!r}; it has {nearest_first(key, choices)}.{nearest(key, choices)}'
    return ConfigError(f'{at}: {text}{_set_elsewhere(read)}')


def unread_helpers(source: Source, own: Container[str], settings: Set[str]) -> None:
    """Refuse functions, imports and private values that a file does not read itself, as nobody else can.

    Args:
        source: the file.
        own: the names that are settings.
        settings: the settings of the file and its bases, to suggest one.

    Raises:
        ConfigError: names the line.
    """
    read = source.names_read | source.unpacked | {BASE, '_'}
    for name, line in source.assigned.items():
        if name in read or name in own:
            continue
        meant = nearest(name.lstrip('_'), (settings | {*TOP_LEVEL_KEYS}) - {name}, cutoff=0.8)
        raise ConfigError(
            f'{Origin(source.path, line)}: nothing reads {name!r}. Functions, imports and names that begin with _ are '
            f"the file's own and no settings; components of your own are registered by custom_imports.{meant}"
        )


def _variables_read(tree: ast.Module, line: int, variables: Mapping[str, Variable]) -> dict[str, Variable]:
    """Return the values from elsewhere that the statement on ``line`` reads."""
    statements = [statement for statement in tree.body if statement.lineno <= line <= (statement.end_lineno or 0)]
    read = {name for statement in statements for name in names_read(statement)}
    return {name: variables[name] for name in sorted(read & variables.keys())}


def _set_elsewhere(read: dict[str, Variable]) -> str:
    said = []
    for name, variable in read.items():
        value, former = variable.value, variable.replaced
        said.append(f'{name} = {value!r} ({variable.origins.find((name,))})')
        if former is not None and not isinstance(value, type(former)):
            said[-1] += f' in place of {former!r}, and what is computed from it takes no {type(value).__name__}'
            said[-1] += f': write {_KINDS.get(type(former), "a value")}, such as {name}={former!r}'
    return f' Set elsewhere: {", ".join(said)}' if said else ''


# A value of each type, as a sentence calls it.
_KINDS = {
    int: 'one whole number',
    float: 'one number',
    str: 'one text',
    list: 'a list',
    tuple: 'a list',
    dict: 'a dict',
}


def _failing_line(error: Exception, path: Path) -> int:
    line, frame = 0, error.__traceback__
    while frame is not None:
        line = frame.tb_lineno if frame.tb_frame.f_code.co_filename == str(path) else line
        frame = frame.tb_next
    return line


def _failed_lookup(tree: ast.Module, line: int, namespace: dict[str, Any]) -> tuple[str, Any, list[str]] | None:
    """Return the dict in which ``dict[key]`` or ``_base_.key`` on ``line`` found nothing, the key, and what it has."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Subscript | ast.Attribute) or node.lineno != line:
            continue
        parts = [node.value, node.slice] if isinstance(node, ast.Subscript) else [node.value]
        if not all(isinstance(part, _LOOKUP) for side in parts for part in ast.walk(side)):
            continue
        try:
            table, key = [eval(ast.unparse(side), namespace) for side in (*parts, ast.Constant(''))][:2]
        except (NameError, AttributeError, LookupError, TypeError):
            continue
        key = node.attr if isinstance(node, ast.Attribute) else key
        if isinstance(table, dict) and not any(key == name for name in table) and not hasattr(dict, str(key)):
            return ast.unparse(node.value).replace(FORMER_BASE, BASE), key, [str(name) for name in table]
    return None


_LOOKUP = (ast.Name, ast.Attribute, ast.Subscript, ast.Constant, ast.Load)


def _hint(error: Exception, namespace: dict[str, Any]) -> str:
    name = getattr(error, 'name', None)
    if isinstance(error, NameError) and name:
        return nearest(name, namespace) or ' A name that a base file sets is read as _base_.name.'
    if isinstance(error, TypeError) and 'item assignment' in str(error):
        return ' Values of the bases are not changed in place: assign a new value to a name of the file.'
    return ''
