"""``load_config``: a config file and options in, a checked config out."""

import importlib
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from detkit.config.check import check_config
from detkit.config.classes import wire_classes
from detkit.config.execute import Executed, execute
from detkit.config.image_size import wire_image_size
from detkit.config.keypoints import wire_keypoints
from detkit.config.options import Option, parse_options, set_option
from detkit.config.origins import COMMAND_LINE, Origins, changed_leaves
from detkit.config.stuff import wire_stuff
from detkit.config.top_level import TOP_LEVEL_KEYS, check_top_level
from detkit.utils.errors import ConfigError, nearest

Options = Mapping[str, Any] | Iterable[str] | None


def load_config(path: str | Path, options: Options = None, need_classes: bool = True) -> Config:
    """Read a config file with its bases, apply options, and refuse what is wrong in it.

    Args:
        path: a Python file.
        options: ``['key=value', ...]`` as on the command line, or a dict of keys and values. A key that names a
            top-level variable of any of the files replaces it before the files run; any other is a dotted key of the
            result, which must exist unless it is written ``+key``.
        need_classes: whether class names that cannot be found are an error. False leaves the class count open where the
            data are not there, as for predicting with a checkpoint, which names its classes.

    Raises:
        ConfigError: names the file, the key, what was found and what would be accepted.
    """
    return load_config_with_origins(path, options, need_classes)[0]


def load_config_with_origins(
    path: str | Path, options: Options = None, need_classes: bool = True
) -> tuple[Config, Origins]:
    """As :func:`load_config`; also returns where each value was set."""
    path = Path(path)
    parsed = parse_options(options)
    executed = _execute_with_variables(path, parsed)
    values, origins = executed.values, executed.origins
    check_top_level(executed, path)
    for option in parsed:
        if option.key not in executed.assigned:
            set_option(values, option, origins, str(path))
            _refuse_options_without_effect(option, executed, path)
    _import_custom(values, origins)
    check_config(values, origins)
    wire_classes(values, origins, need_classes)
    wire_keypoints(values, origins)
    wire_stuff(values, origins)
    wire_image_size(values, origins)
    return Config(values, filename=str(path)), origins


def _execute_with_variables(path: Path, options: list[Option]) -> Executed:
    names = {option.key: option.value for option in options if option.key.isidentifier()}
    executed = execute(path, names)
    variables = {name: value for name, value in names.items() if name in executed.assigned}
    for name in variables.keys() - TOP_LEVEL_KEYS:
        # A resolved config still lists data_root, but nothing in it is built from that name any more.
        without = execute(path, {other: value for other, value in variables.items() if other != name}).values
        same = {key: value for key, value in without.items() if key != name}
        if without[name] != variables[name] and same == {k: v for k, v in executed.values.items() if k != name}:
            raise ConfigError(
                f'--cfg-options: {name} is a variable of {path}, but nothing there is built from it; '
                f'give the key that uses the value'
            )
    if variables:
        _mark_changed(executed, execute(path, {}).values)
    return executed


def _mark_changed(executed: Executed, before: dict[str, Any]) -> None:
    """Note the values that differ because of an option's variable, though a file's line built them."""
    for path in changed_leaves(before, executed.values):
        origin = executed.origins.find(path)
        if origin.file is not None:
            executed.origins.add(path, replace(origin, changed_by=COMMAND_LINE))


def _refuse_options_without_effect(option: Option, executed: Executed, path: Path) -> None:
    root = str(option.path[0])
    if root in TOP_LEVEL_KEYS or option.adds:
        return
    raise ConfigError(
        f'--cfg-options: {root} is a variable that {path} has already used when {option.key} would be set; give '
        f'{root} as a whole, or the key that it was used for'
    )


def _import_custom(values: dict[str, Any], origins: Origins) -> None:
    """Import a user's own modules, which may lie beside the config file that names them.

    That file's folder is noted in the config, so that the resolved config in a run's folder finds them too.
    """
    custom = values.get('custom_imports')
    if not custom:
        return
    where = origins.find(('custom_imports',))
    unknown = [key for key in custom if key not in ('imports', 'allow_failed_imports', 'folder')]
    if unknown:
        raise ConfigError(
            f'{where}: custom_imports has no key {unknown[0]!r}; it takes imports (a list of modules), '
            f'allow_failed_imports and folder.{nearest(unknown[0], ["imports", "folder"])}'
        )
    folder = custom.get('folder') or (where.file.parent if where.file else Path.cwd())
    custom['folder'] = str(folder)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    modules = custom.get('imports', [])
    for module in [modules] if isinstance(modules, str) else modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            if custom.get('allow_failed_imports', False):
                continue
            raise ConfigError(
                f'{where}: custom_imports cannot import {module!r}: {error} '
                f'(looked in {os.path.relpath(folder)} and the installed packages)'
            ) from error
