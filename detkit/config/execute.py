"""Running config files: inheritance, and options that replace top-level variables while the files run.

The files are classic mmengine ones (``_base_``, ``_base_.name``, ``{{_base_.name}}``, ``_delete_``). They are run here
and not by mmengine because an option such as ``data_root=...`` has to reach what the bases build from that variable.
"""

import ast
import copy
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import ConfigDict

from detkit.config.origins import COMMAND_LINE, KeyPath, Origin, Origins, dotted, places_in
from detkit.utils.errors import ConfigError, nearest

DELETE_KEY = '_delete_'


@dataclass
class Executed:
    """What a config file and its bases define.

    Attributes:
        values: the merged top-level names, plain dicts and lists.
        origins: where each value was set.
        files: the file and its bases, in the order they ran.
        assigned: the top-level names that any of the files assigns.
        read: the names that any of the files reads.
    """

    values: dict[str, Any] = field(default_factory=dict)
    origins: Origins = field(default_factory=Origins)
    files: list[Path] = field(default_factory=list)
    assigned: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)


def execute(path: Path, variables: dict[str, Any], parents: tuple[Path, ...] = ()) -> Executed:
    """Run ``path`` and its bases.

    Args:
        variables: values that replace what the files assign to top-level names.
        parents: the files that led here, to find circles.

    Raises:
        ConfigError: a file is missing, is no Python, fails, or sets what cannot be merged.
    """
    path = path.resolve()
    _check_file(path, parents)
    try:
        tree = ast.parse(path.read_text(encoding='utf-8'), str(path))
    except SyntaxError as error:
        raise ConfigError(f'{Origin(path, error.lineno or 0)}: this is no valid Python: {error.msg}') from error

    merged = _execute_bases(path, tree, variables, parents)
    bases = copy.deepcopy(merged.values)
    own = _run(path, tree, bases, variables)
    merged.read |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    merged.read |= {node.attr for node in ast.walk(tree) if _is_base_attribute(node)}
    merged.assigned |= set(own)
    merged.files.append(path)

    origins = Origins()
    for name in own:
        origins.add((name,), Origin(path))
    lines, aliases = places_in(tree)
    for key_path, line in lines.items():
        origins.add(key_path, Origin(path, line))
    for key_path, base_path in aliases.items():
        if isinstance(_value_at(merged.values, base_path), dict | list):  # a plain value is set where it is used
            origins.copy_below(key_path, merged.origins, base_path)
    for name in own.keys() & variables.keys():
        origins.set((name,), COMMAND_LINE)
    _merge(merged.values, own, merged.origins, origins)
    return merged


def _check_file(path: Path, parents: tuple[Path, ...]) -> None:
    by_whom = f' (a base of {Origin(parents[-1])})' if parents else ''
    if path in parents:
        raise ConfigError(f'{Origin(path)} is its own base, through {", ".join(str(Origin(p)) for p in parents)}')
    if path.suffix != '.py':
        raise ConfigError(f'{Origin(path)}{by_whom} is no config file: a name that ends in .py is expected')
    if not path.is_file():
        siblings = [sibling.name for sibling in path.parent.glob('*.py')]
        raise ConfigError(f'there is no config file {Origin(path)}{by_whom}.{nearest(path.name, siblings)}')


def _execute_bases(path: Path, tree: ast.Module, variables: dict[str, Any], parents: tuple[Path, ...]) -> Executed:
    merged = Executed()
    for base in _base_names(path, tree):
        executed = execute(path.parent / base, variables, (*parents, path))
        _refuse_conflicts(merged, executed, merged.values, executed.values, path)
        _merge(merged.values, executed.values, merged.origins, executed.origins)
        merged.files += [file for file in executed.files if file not in merged.files]
        merged.assigned |= executed.assigned
        merged.read |= executed.read
    return merged


def _refuse_conflicts(one: Executed, other: Executed, a: dict, b: dict, path: Path, key_path: KeyPath = ()) -> None:
    """Bases stand side by side: which one wins must not depend on their order."""
    for key in a.keys() & b.keys():
        here = (*key_path, key)
        if isinstance(a[key], dict) and isinstance(b[key], dict):
            _refuse_conflicts(one, other, a[key], b[key], path, here)
        elif a[key] != b[key]:
            raise ConfigError(
                f'{Origin(path)}: two bases set {dotted(here)!r}, to different values: '
                f'{one.origins.find(here)} and {other.origins.find(here)}'
            )


def _base_names(path: Path, tree: ast.Module) -> list[str]:
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and any(_is_name(target, '_base_') for target in statement.targets):
            try:
                names = ast.literal_eval(statement.value)
            except ValueError:
                names = None
            names = [names] if isinstance(names, str) else names
            if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
                raise ConfigError(
                    f'{Origin(path, statement.lineno)}: _base_ must be a path, or a list of paths, in quotes'
                )
            return list(names)
    return []


def _run(path: Path, tree: ast.Module, bases: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
    """The plain top-level names that the file itself assigns."""
    tree = ast.fix_missing_locations(_Rewrite(variables).visit(tree))
    base_view = ConfigDict(bases)
    before = copy.deepcopy(base_view)
    namespace = {
        '__file__': str(path),
        '__name__': path.stem,
        '_base_': base_view,
        '_option_': lambda name: copy.deepcopy(variables[name]),
    }
    own_helpers = set(namespace)
    try:
        exec(compile(tree, str(path), 'exec'), namespace)
    except Exception as error:
        raise ConfigError(f'{Origin(path, _failing_line(error, path))}: {_explain(error, namespace)}') from error
    if base_view != before:
        raise ConfigError(
            f'{Origin(path)} changes _base_ in place, which has no effect: assign a new value to a name instead'
        )
    return {
        name: plain(value)
        for name, value in namespace.items()
        if name not in own_helpers and not name.startswith('_') and not _is_code(value)
    }


def _is_code(value: Any) -> bool:
    return isinstance(value, types.ModuleType | types.FunctionType | types.BuiltinFunctionType | type)


def _failing_line(error: Exception, path: Path) -> int:
    line, frame = 0, error.__traceback__
    while frame is not None:
        line = frame.tb_lineno if frame.tb_frame.f_code.co_filename == str(path) else line
        frame = frame.tb_next
    return line


def _explain(error: Exception, namespace: dict[str, Any]) -> str:
    hint = ''
    name = getattr(error, 'name', None)
    if isinstance(error, NameError) and name:
        hint = nearest(name, namespace) or ' A name that a base file sets is read as _base_.name.'
    elif isinstance(error, AttributeError) and isinstance(namespace['_base_'], dict) and '_base_' not in str(error):
        hint = nearest(name or str(error).split("'")[-2], namespace['_base_'])
    return f'{type(error).__name__}: {error}.{hint}'


def plain(value: Any) -> Any:
    """``value`` with its dicts and lists copied into plain ones."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, tuple) and not hasattr(value, '_fields'):
        return tuple(plain(item) for item in value)
    return value


def _merge(base: dict, own: dict, origins: Origins, own_origins: Origins, path: KeyPath = ()) -> None:
    """Merge ``own`` into ``base``: dicts key by key unless ``_delete_`` says otherwise, anything else replaces."""
    for key, value in own.items():
        here = (*path, key)
        if isinstance(value, dict) and key in base and not value.get(DELETE_KEY, False):
            if isinstance(base[key], dict):
                _merge(base[key], {k: v for k, v in value.items() if k != DELETE_KEY}, origins, own_origins, here)
                continue
            if base[key] is not None:
                raise ConfigError(
                    f'{own_origins.find(here)}: {dotted(here)} is a dict, but {origins.find(here)} sets it to a '
                    f'{type(base[key]).__name__}; write {DELETE_KEY}=True in the dict to replace it'
                )
        base[key] = _without_delete_keys(value)
        origins.copy_below(here, own_origins)


def _without_delete_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_delete_keys(item) for key, item in value.items() if key != DELETE_KEY}
    return value


def _value_at(values: dict, path: KeyPath) -> Any:
    for key in path:
        values = values.get(key) if isinstance(values, dict) else None
    return values


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _is_base_attribute(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and _is_name(node.value, '_base_')


class _Rewrite(ast.NodeTransformer):
    """Puts the options' values after every assignment to their names, and reads ``{{_base_.x}}`` as ``_base_.x``."""

    def __init__(self, variables: dict[str, Any]) -> None:
        self.variables = variables

    def visit_Set(self, node: ast.Set) -> ast.AST:
        inner = node.elts[0]
        if len(node.elts) == 1 and isinstance(inner, ast.Set) and len(inner.elts) == 1:
            root = inner.elts[0]
            while isinstance(root, ast.Attribute | ast.Subscript):
                root = root.value
            if _is_name(root, '_base_'):
                return inner.elts[0]
        return self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> list[ast.stmt] | ast.stmt | None:
        if any(_is_name(target, '_base_') for target in node.targets):
            return None  # in the rest of the file _base_ stands for what the bases define
        return self._and_options(node, node.targets)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> list[ast.stmt] | ast.stmt:
        return self._and_options(node, [node.target])

    def visit_AugAssign(self, node: ast.AugAssign) -> list[ast.stmt] | ast.stmt:
        return self._and_options(node, [node.target])

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.stmt:
        return node  # its names are its own

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.stmt:
        return node

    def _and_options(self, node: ast.stmt, targets: list[ast.expr]) -> list[ast.stmt] | ast.stmt:
        self.generic_visit(node)
        names = {
            part.id
            for target in targets
            for part in ast.walk(target)
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
        }
        settings = [ast.parse(f'{name} = _option_({name!r})').body[0] for name in sorted(names & self.variables.keys())]
        for setting in settings:
            for part in ast.walk(setting):
                ast.copy_location(part, node)
        return [node, *settings] if settings else node
