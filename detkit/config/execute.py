"""Running config files: inheritance, and options that replace top-level variables while the files run.

The files are classic mmengine ones (``_base_``, ``_base_.name``, ``{{_base_.name}}``, ``_delete_``). They are run here
and not by mmengine because an option such as ``data_root=...`` has to reach what the bases build from that variable.
"""

import ast
import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from detkit.config.executed import Executed, ExecutedFiles
from detkit.config.failures import Variable, unread_helpers
from detkit.config.keys import COMPONENT_KEYS, DELETE_KEY
from detkit.config.names import SCHEME, config_hint, find_config
from detkit.config.options import without_delete_keys
from detkit.config.origins import KeyPath, Origin, Origins, changed_leaves, dotted, leaves
from detkit.config.run_file import run_file
from detkit.config.source import Source, read_source, sized_base
from detkit.utils.errors import ConfigError

# Templates that mmengine replaces in a config file: values of its bases, parts of its own name, and the environment's
# variables.
_TEMPLATE = re.compile(
    r'\{\{\s*(?:(_base_\.[^\s{}]+)|file(?:Dirname|Basename|BasenameNoExtension|Extname)|\$\w+:[^{}]*)\s*\}\}'
)

# A file runs once to find what it replaces, and again until that no longer changes what the bases give it.
_MOST_ROUNDS = 10


def execute(path: Path, variables: Mapping[str, Any], done: ExecutedFiles | None = None) -> Executed:
    """Run ``path`` and its bases.

    A variable that a file assigns again replaces its bases' before they run, so that it reaches all that they build
    from it, just as ``variables`` do.

    Args:
        path: the config file.
        variables: values that replace what the files assign to top-level names.
        done: the files that have run already, if the config is run several times; they must not change meanwhile.

    Raises:
        ConfigError: a file is missing, is no Python, fails, or sets what cannot be merged.
    """
    given = {name: Variable(value, Origins()) for name, value in variables.items()}
    return _execute(path, given, (), ExecutedFiles() if done is None else done)


def _execute(path: Path, variables: dict[str, Variable], parents: tuple[Path, ...], done: ExecutedFiles) -> Executed:
    path = path.resolve()
    executed = done.find(path, variables)
    if executed is None:
        executed = _execute_anew(path, variables, parents, done)
        done.add(path, variables, executed)
    return executed


def _execute_anew(
    path: Path, variables: dict[str, Variable], parents: tuple[Path, ...], done: ExecutedFiles
) -> Executed:
    _check_file(path, parents, done)
    source = read_source(path)
    run_bases = partial(_execute_bases, path, source, parents, done)
    merged = first = run_bases(variables)
    overrides: dict[str, Variable] = {}
    for _ in range(_MOST_ROUNDS):
        former = _former_values(source, overrides, variables, run_bases)
        own = run_file(source, merged.values, former, variables)
        origins = _own_origins(source, own, merged, variables)
        refuse_odd_values(own, origins)
        found = _overrides(own, origins, merged, variables, former)
        if {n: v.value for n, v in found.items()} == {n: v.value for n, v in overrides.items()}:
            break
        overrides = found
        merged = run_bases({**variables, **overrides})
    else:
        name = min(found, key=lambda name: found[name].value == overrides[name].value if name in overrides else False)
        once, again = (run_file(source, merged.values, former, variables).get(name) for _ in range(2))
        if once != again:
            raise ConfigError(
                f'{origins.find((name,))}: {name} is another value whenever the file runs (a time, a random number); a '
                'config is read several times: write one value, or give it as an option'
            )
        raise ConfigError(
            f'{origins.find((name,))}: {name} is computed from a value of the bases that they compute from {name} in '
            f'turn; give one of the two a value of its own'
        )
    if merged.conflict is not None:
        raise merged.conflict
    _mark_changed_by(overrides, merged, first)
    merged.read |= source.names_read
    merged.assigned |= set(own)
    merged.files.append(path)
    merged.import_folders = _import_folders(path, own.get('custom_imports'), merged.import_folders)
    _merge(merged.values, own, merged.origins, origins)
    merged.origins.leaf = path
    unread_helpers(source, own, merged.assigned)
    return merged


def _former_values(
    source: Source,
    overrides: dict[str, Variable],
    variables: dict[str, Variable],
    run_bases: Callable[[dict[str, Variable]], Executed],
) -> dict[str, Any]:
    """Return what the bases give to a name that the file replaces, where its new value depends on the former one."""
    computed = source.computed_from_base if overrides else ()
    former = {}
    for name, variable in overrides.items():
        if name in computed or isinstance(variable.value, dict):
            others = {other: value for other, value in overrides.items() if other != name}
            former[name] = run_bases({**variables, **others}).values[name]
    return former


def _own_origins(source: Source, own: dict[str, Any], bases: Executed, variables: dict[str, Variable]) -> Origins:
    origins = Origins()
    for name in own:
        origins.add((name,), Origin(source.path, source.assigned.get(name, 0)))
    places, aliases, splats = source.places
    for key_path, (line, expression) in places.items():
        origins.add(key_path, Origin(source.path, line, expression=expression))
    for key_path, base_path in aliases.items():
        if isinstance(_value_at(bases.values, base_path), dict | list):  # a plain value is set where it is used
            origins.copy_inside(key_path, bases.origins, base_path)
    for key_path, base_path in splats:
        for key in [key for key in _value_at(bases.values, base_path) or () if (*key_path, key) not in places]:
            origins.copy_below((*key_path, key), bases.origins, (*base_path, key))
    for key_path, (_, expression) in places.items():
        if expression in variables and isinstance(variables[expression].value, list):  # a list that came from outside
            origins.copy_inside(key_path, variables[expression].origins, (expression,))
    for name in own.keys() & variables.keys():
        if not isinstance(own[name], dict):
            origins.copy_below((name,), variables[name].origins)
    return origins


def _overrides(
    own: dict[str, Any],
    origins: Origins,
    bases: Executed,
    variables: dict[str, Variable],
    former: dict[str, Any],
) -> dict[str, Variable]:
    """Return the variables of the bases that the file assigns again; a dict is merged into the bases' one."""
    found = {}
    for name in own.keys() & bases.assigned - variables.keys() - set(COMPONENT_KEYS):
        value, base = own[name], former.get(name, bases.values[name])
        if isinstance(value, dict) and isinstance(base, dict):
            merged, base_origins = {name: copy.deepcopy(base)}, Origins()
            base_origins.copy_below((name,), bases.origins)
            _merge(merged, {name: value}, base_origins, origins)
            value = merged[name]
        if isinstance(value, dict) == isinstance(base, dict) or base is None:
            found[name] = Variable(value, origins)
    return found


def _mark_changed_by(overrides: dict[str, Variable], merged: Executed, first: Executed) -> None:
    """Note at the bases' values that differ because of ``overrides`` which file changed them."""
    places = {name: replace(variable.origins.find((name,)), variable=name) for name, variable in overrides.items()}
    for path in changed_leaves(first.values, merged.values) if places else ():
        origin = merged.origins.find(path)
        if path[0] in overrides or origin.file is None or origin.changed_by is not None:
            continue
        name = merged.origins.cause(path, merged.values, {name: own.value for name, own in overrides.items()})
        by = places[name] if name else Origin(next(iter(places.values())).file)
        if origin.file != by.file:
            merged.origins.add(path, replace(origin, changed_by=by))


def _check_file(path: Path, parents: tuple[Path, ...], done: ExecutedFiles) -> None:
    by_whom, prefix = (f' (a base of {Origin(parents[-1])})', SCHEME) if parents else ('', '')
    if path in parents:
        raise ConfigError(
            f'{Origin(path)} is its own base, through {", ".join(str(Origin(p)) for p in parents)}'
            '; take one of them out of _base_'
        )
    if path.suffix != '.py':
        hint = '' if path.exists() else f'.{config_hint(str(path), prefix)}'
        raise ConfigError(f'{Origin(path)}{by_whom} is no config file: a name that ends in .py is expected{hint}')
    if not path.is_file():
        base, size = sized_base(path) or ('', '')
        sizes = _execute(path.parent / base, {}, (), done).values.get('sizes') or () if base else ()
        if size not in sizes:
            hint = f' {base} has the sizes {", ".join(sizes)}.' if sizes else config_hint(str(path), prefix)
            raise ConfigError(f'there is no config file {Origin(path)}{by_whom}.{hint}')


def _execute_bases(
    path: Path, source: Source, parents: tuple[Path, ...], done: ExecutedFiles, variables: dict[str, Variable]
) -> Executed:
    merged = Executed()
    for base in _base_names(source):
        own = find_config(base, f' (a base of {Origin(path)})') if base.startswith(SCHEME) else path.parent / base
        executed = _execute(own, variables, (*parents, path), done)
        merged.conflict = merged.conflict or _conflict(merged, executed, merged.values, executed.values, path)
        _merge(merged.values, executed.values, merged.origins, executed.origins)
        merged.files += [file for file in executed.files if file not in merged.files]
        merged.import_folders = list(dict.fromkeys((*merged.import_folders, *executed.import_folders)))
        merged.assigned |= executed.assigned
        merged.read |= executed.read
    return merged


def _import_folders(path: Path, own: Any, of_bases: list[str]) -> list[str]:
    """Return where modules lie that ``custom_imports`` may name, ``own`` being what the file itself sets it to."""
    if not isinstance(own, dict):
        return of_bases
    given = [own['folder']] if isinstance(own.get('folder'), str) else own.get('folder')
    if not isinstance(given, list | tuple) or not all(isinstance(folder, str) for folder in given):
        given = [str(path.parent)]  # what it is otherwise is refused when the keys are checked
    return list(dict.fromkeys((*given, *([] if own.get(DELETE_KEY) else of_bases))))


def _conflict(
    one: Executed, other: Executed, a: dict, b: dict, path: Path, key_path: KeyPath = ()
) -> ConfigError | None:
    """Return the error of a key that two bases set differently: which one wins must not depend on their order."""
    for key in a.keys() & b.keys():
        here = (*key_path, key)
        if isinstance(a[key], dict) and isinstance(b[key], dict):
            found = _conflict(one, other, a[key], b[key], path, here)
            if found is not None:
                return found
        elif a[key] != b[key]:
            return ConfigError(
                f'{Origin(path)}: two bases set {dotted(here)!r}, to different values: '
                f'{one.origins.find(here)} and {other.origins.find(here)}'
            )
    return None


def _base_names(source: Source) -> list[str]:
    if source.base is None:
        return []
    try:
        names = ast.literal_eval(source.base.value)
    except ValueError:
        names = None
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ConfigError(
            f'{Origin(source.path, source.base.lineno)}: _base_ must be a path, or a list of paths, in quotes'
        )
    return list(names)


def refuse_odd_values(values: dict[str, Any], origins: Origins) -> None:
    """Refuse NaN, whole numbers beyond 64 bits, and texts with variables as mmengine replaces them.

    Raises:
        ConfigError: names the key, the file and the line.
    """
    for path, value in leaves(values):
        items = value if isinstance(value, list | tuple) else (value,)
        if any(isinstance(item, float) and item != item for item in items):
            raise ConfigError(f'{origins.blame(path)}: {dotted(path)} is {value!r}; nan is no setting, write a number')
        if any(isinstance(item, int) and abs(item) >= 1 << 63 for item in items):
            raise ConfigError(
                f'{origins.blame(path)}: {dotted(path)} is a whole number of more than 64 bits; write a smaller number'
            )
        template = next((found for item in items if isinstance(item, str) and (found := _TEMPLATE.search(item))), None)
        if template is not None:
            remedy = f'write {template[1]} outside of quotes' if template[1] else 'write the value itself'
            raise ConfigError(
                f'{origins.blame(path)}: {dotted(path)} is {value!r}, but nothing replaces {template[0]} in a text; '
                f'{remedy}'
            )


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
        base[key] = without_delete_keys(value)
        origins.copy_below(here, own_origins)


def _value_at(values: dict, path: KeyPath) -> Any:
    for key in path:
        values = values.get(key) if isinstance(values, dict) else None
    return values
