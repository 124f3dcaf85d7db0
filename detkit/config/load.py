"""``load_config``: a config file and options in, a checked config out."""

import copy
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial, reduce
from operator import getitem
from pathlib import Path
from typing import Any

from detkit.config.check import check_config
from detkit.config.execute import execute, refuse_odd_values
from detkit.config.executed import Executed, ExecutedFiles
from detkit.config.hints import did_you_mean, meant_keys
from detkit.config.keys import COMPONENT_KEYS, REFUSED_KEYS, TOP_LEVEL_KEYS, WORDS
from detkit.config.model_check import check_model
from detkit.config.names import find_config
from detkit.config.options import Option, parse_options, set_option
from detkit.config.origins import COMMAND_LINE, KeyPath, Origins, changed_leaves, dotted, leaves
from detkit.config.own_imports import import_own_modules
from detkit.config.positions import TOP_POSITIONS
from detkit.config.resolve import LoadedConfig
from detkit.config.signatures import arguments_of
from detkit.config.top_level import (
    check_plain_values,
    check_top_level,
    readable_names,
    takes_image_size,
    used_pipelines,
)
from detkit.config.wiring import wire_from_data
from detkit.registry import LOOPS
from detkit.utils.errors import ConfigError, nearest_first
from detkit.utils.front_end import changing
from detkit.utils.home import with_home

Options = Mapping[str, Any] | Iterable[str | Option] | None


def load_config(
    path: str | Path,
    options: Options = None,
    need_classes: bool = True,
    checked: Collection[str] | None = None,
    trains: bool = True,
) -> LoadedConfig:
    """Read a config file with its bases, apply options, and refuse what is wrong in it.

    Args:
        path: a Python file, or the name of one of detkit's configs, see :func:`find_config`.
        options: ``['key=value', ...]`` as on the command line, or a dict of keys and values. A key that names a
            top-level variable of any of the files replaces it before the files run; any other is a dotted key of the
            result, which must exist unless it is written ``+key``.
        need_classes: whether class names that cannot be found are an error. False leaves the class count open where the
            data are not there, as for predicting with a checkpoint, which names its classes.
        checked: the top-level keys whose components are looked up and checked, which imports them; None for all.
        trains: whether the config is loaded to train, so that training images must be such as the model learns from.

    Raises:
        ConfigError: names the file, the key, what was found and what would be accepted.
    """
    path = find_config(path)
    parsed = parse_options(options)
    executed, rest = _execute_with_variables(path, parsed)
    values, origins = executed.values, executed.origins
    used = used_pipelines(values)
    for option in rest:
        option = replace(option, adds=option.adds or _is_loop_argument(values, option.path))
        set_option(values, option, origins, partial(_missing_key, option, executed, path))
    for name in used - used_pipelines(values):
        del values[name]  # an option changed the loader's
    for key_path, value in list(leaves(values)):
        if with_home(value) != value:
            reduce(getitem, key_path[:-1], values)[key_path[-1]] = with_home(value)
    refuse_odd_values(values, origins)
    check_top_level(executed, path, partial(_may_be_added, values))
    import_own_modules(values, origins, executed.import_folders)
    check_config({key: value for key, value in values.items() if checked is None or key in checked}, origins)
    written = copy.deepcopy(values)
    wire_from_data(values, origins, need_classes)
    wired = frozenset(changed_leaves(written, values))
    config = LoadedConfig(values, str(path), origins, wired, executed.files, parsed)
    check_model(config, trains and (checked is None or 'train_dataloader' in checked))
    return config


def load_config_with_origins(
    path: str | Path, options: Options = None, need_classes: bool = True
) -> tuple[LoadedConfig, Origins]:
    """Return the config that :func:`load_config` returns, and where each value was set."""
    config = load_config(path, options, need_classes)
    return config, config.origins


def _execute_with_variables(path: Path, options: list[Option]) -> tuple[Executed, list[Option]]:
    """Run the files with the options that replace variables; return the other options too."""
    names = {
        option.key: option.value for option in options if option.key.isidentifier() and option.key not in COMPONENT_KEYS
    }
    run = partial(execute, path, done=ExecutedFiles())
    executed = run(names)
    variables = {name: value for name, value in names.items() if name in executed.assigned}
    rest = [option for option in options if option.key not in variables]
    parts = [option for option in rest if _is_part_of_variable(option, executed)]
    for option in parts:  # train_pipeline.1.prob=0: the variable as a whole, with this part changed
        root = str(option.path[0])
        whole = {root: copy.deepcopy(variables.get(root, executed.values[root]))}
        set_option(whole, option, Origins(), partial(_missing_key, option, executed, path))
        variables |= whole
    if parts:
        executed = run(variables)
    before = run({}).values if variables else {}
    effective = _with_effect(executed, before, variables) if variables else set()
    for name in variables.keys() - TOP_LEVEL_KEYS - effective:
        # A variable may be read, and what is built from it be unused all the same.
        without = run({other: value for other, value in variables.items() if other != name}).values
        if without[name] != variables[name] and _effect(without) == _effect(executed.values):
            meant = meant_keys(name, executed.values, readable_names(executed) - {name})
            raise ConfigError(
                f'{changing()}: {name} is a variable of {path}, but nothing there is built from it.'
                f'{did_you_mean(meant)}'
            )
    if variables:
        _mark_changed(executed, before, variables)
    return executed, [option for option in rest if option not in parts]


def _with_effect(executed: Executed, before: dict[str, Any], variables: Mapping[str, Any]) -> set[str]:
    """Return the variables of which some value that changed is computed, and of no other one.

    Of the rest it takes a run of the files without the variable to know whether anything is built from it.
    """
    found: set[str] = set()
    for path in changed_leaves(_effect(before), _effect(executed.values)):
        read = executed.origins.sources(path) & variables.keys()
        found |= read if len(read) == 1 else set()
    return found


def _is_part_of_variable(option: Option, executed: Executed) -> bool:
    root = option.path[0]
    return len(option.path) > 1 and root in executed.assigned and root not in TOP_LEVEL_KEYS


def _effect(values: dict[str, Any]) -> dict[str, Any]:
    names = {*TOP_LEVEL_KEYS, *({'img_size'} if takes_image_size(values) else ())}
    return {name: value for name, value in values.items() if name in names}


def _missing_key(option: Option, executed: Executed, path: Path, key_path: KeyPath, parent: Any) -> str:
    """Return what to say of an option whose key does not exist.

    Args:
        option: the option.
        executed: the config.
        path: the config file.
        key_path: as much of the option's key as leads to the part that is missing.
        parent: what the config holds one step above.
    """
    root = str(key_path[0])
    if len(key_path) == 1 and root in REFUSED_KEYS:
        return f'{root} has no effect here: {REFUSED_KEYS[root]}'
    text = f'{path} has no key {dotted(key_path)!r}'
    readable = readable_names(executed)
    # The arguments of one's own parts may be added, too.
    import_own_modules(executed.values, executed.origins, executed.import_folders)
    addable = partial(_may_be_added, executed.values)
    keys: list[str] = []
    if not addable(option.key, option.value):  # else this very key is meant
        keys = meant_keys(option.key, executed.values, readable)
    if option.key.lower() not in WORDS:  # a key whose value is of another kind only has the same name
        keys = [key for key in keys if _is_alike(_value_of(key, executed.values), option.value)]
    meant = did_you_mean(keys, option.with_key if option.of_dict else lambda key: repr(option.with_key(key)))
    if not meant:
        others = [key for key in (option.key, *WORDS.get(option.key, ())) if addable(key, option.value)][:1]
        meant = ''.join(f' To add a key, write {option.with_key(f"+{key}")}' for key in others)
    there = dotted(key_path[:-1])
    if meant and not there:
        return f'{text}.{meant}'
    if isinstance(parent, dict):
        return (
            f'{text}; {there or "the config"} has {nearest_first(key_path[-1], parent if there else readable)}.{meant}'
        )
    if isinstance(parent, list | tuple):
        accepted = f'a list, accepted are 0 to {len(parent) - 1}' if parent else 'an empty list'
        return f'{text}: {there} is {accepted}.{meant}'
    return f'{text}: {there} is {parent!r}, which has no keys.{meant}'


def _value_of(key: str, values: dict[str, Any]) -> Any:
    """Return the value of a dotted key that exists."""
    value: Any = values
    for part in Option(key, None).path:
        value = value[part] if isinstance(value, list | tuple) or part in value else value[str(part)]
    return value


def _is_alike(old: Any, new: Any) -> bool:
    """Return whether a value may replace another: not a text a number or a dict, nor a number a text or a dict."""
    numbers, kinds = (int, float), (int, float, str)
    if isinstance(old, dict):
        return not isinstance(new, kinds)
    return not (isinstance(old, numbers) and isinstance(new, str) or isinstance(old, str) and isinstance(new, numbers))


def _is_loop_argument(values: dict[str, Any], path: KeyPath) -> bool:
    """Return whether a key names an argument of a loop, which an option may set though no file does."""
    position, loop = TOP_POSITIONS.get(path[0]), values.get(path[0])
    if len(path) != 2 or position is None or position.registry() is not LOOPS or not isinstance(loop, dict):
        return False
    factory = LOOPS.get(loop.get('type', position.default_type))
    return factory is not None and path[1] in arguments_of(factory).names and path[1] not in position.injected


def _may_be_added(values: dict[str, Any], key: str, value: Any) -> bool:
    """Return whether the option ``+key=value`` would be accepted."""
    option = Option(key, value, adds=True)
    if option.path[0] not in TOP_LEVEL_KEYS:
        return False
    values = copy.deepcopy(values)
    try:
        set_option(values, option, Origins(), lambda path, parent: '')
        check_plain_values(values, Origins())
        check_config(values)
    except ConfigError:
        return False
    return True


def _mark_changed(executed: Executed, before: dict[str, Any], variables: Mapping[str, Any]) -> None:
    """Note the values that differ because of an option's variable, though a file's line built them."""
    for path in changed_leaves(before, executed.values):
        origin = executed.origins.find(path)
        if origin.file is not None:
            variable = executed.origins.cause(path, executed.values, variables)
            executed.origins.add(path, replace(origin, changed_by=replace(COMMAND_LINE, variable=variable)))
