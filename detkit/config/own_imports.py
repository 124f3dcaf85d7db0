"""``custom_imports``: the import of a user's own modules, which may lie beside the config file that names them."""

import importlib
import os
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detkit.config.origins import Origins
from detkit.utils.errors import ConfigError, DetkitError
from detkit.utils.front_end import argument


def import_own_modules(values: dict[str, Any], origins: Origins, folders: Sequence[str]) -> None:
    """Import the modules that ``custom_imports`` names.

    The folders of the config files that set it are noted in the config, so that the resolved config in a run's folder
    finds them too. They stay in ``sys.path``: the modules may import others of them when they are used, also in worker
    processes.

    Args:
        values: the config, in which the folders are noted.
        origins: where each value was set.
        folders: see ``Executed.import_folders``.

    Raises:
        ConfigError: a name is no module's, a module cannot be imported, or Python took another one of that name.
    """
    custom = values.get('custom_imports')
    if not custom:
        return
    option = custom.get('folder') if origins.find(('custom_imports', 'folder')).file is None else None
    found = [option] if isinstance(option, str) else list(option or folders or [str(Path.cwd())])
    custom['folder'] = found[0] if len(found) == 1 else found
    where = origins.find(('custom_imports', 'imports'))
    may_fail = custom.get('allow_failed_imports', False)
    _import(named_modules(values), [Path(folder) for folder in found], f'{where}: custom_imports', may_fail)


def import_modules(modules: Sequence[str], folder: Path | None = None) -> None:
    """Import modules of a user's own, as ``custom_imports`` of a config does, for a checkpoint or an exported file.

    Args:
        modules: their names.
        folder: where they lie, or in the installed packages; the current folder by default.

    Raises:
        ConfigError: see ``import_own_modules``.
    """
    _import(modules, [folder or Path.cwd()], argument('custom_imports'))


def named_modules(values: Mapping[str, Any]) -> list[str]:
    """Return the modules that ``custom_imports`` of a config names, as far as it is one of plain values."""
    custom = values.get('custom_imports')
    modules = custom.get('imports', []) if isinstance(custom, Mapping) else []
    modules = [modules] if isinstance(modules, str) else modules
    return [module for module in modules if isinstance(module, str)] if isinstance(modules, list | tuple) else []


def _import(modules: Sequence[str], folders: Sequence[Path], whose: str, may_fail: bool = False) -> None:
    for folder in reversed(folders):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    for module in modules:
        mistake = _mistake(module, folders, may_fail)
        if mistake:
            raise ConfigError(f'{whose} {mistake}')


def _mistake(module: str, folders: Sequence[Path], may_fail: bool) -> str:
    """Import a module, and return what is wrong with it; empty for nothing."""
    shown = ', '.join(map(os.path.relpath, folders))
    if not re.fullmatch(r'[^\W\d]\w*(\.[^\W\d]\w*)*', module):
        plain = module.removesuffix('.py').replace('\\', '/').strip('./').replace('/', '.')
        return f'names {module!r}, but takes module names, searched for from {shown}: write {plain!r}'
    try:
        importlib.import_module(module)
    except (Exception, SystemExit) as error:
        if isinstance(error, ImportError) and may_fail:
            return ''
        if isinstance(error, ModuleNotFoundError) and f'{module}.'.startswith(f'{error.name}.'):
            return f'cannot import {module!r}: {error} (looked in {shown} and the installed packages)'
        return f'cannot import {module!r}: {_failure(error, folders)}'
    root = module.partition('.')[0]
    found = Path(getattr(sys.modules[root], '__file__', None) or folders[0]).resolve()
    home = found.parent.parent if found.name == '__init__.py' else found.parent
    others = [folder for folder in folders if folder.resolve() != home]
    files = [path for folder in others for path in (folder / f'{root}.py', folder / root / '__init__.py')]
    beside = next((path for path in files if path.exists()), None)
    if beside is not None:
        return (
            f'names {module!r}, meaning {os.path.relpath(beside)}, but Python has another module of that name, '
            f'{found}; rename yours'
        )
    return ''


def _failure(error: BaseException, folders: Sequence[Path]) -> str:
    """Return what ended the import of a module, and the line of the user's that did it."""
    frames = traceback.extract_tb(error.__traceback__)
    paths = [Path(frame.filename) for frame in frames]
    inside = [
        path.is_file() and any(path.resolve().is_relative_to(folder.resolve()) for folder in folders) for path in paths
    ]
    own = [frame for frame, is_inside in zip(frames, inside, strict=True) if is_inside]
    last = (own or frames)[-1]
    file, line, text = last.filename, last.lineno, f'{type(error).__name__}: {error}'
    if isinstance(error, SyntaxError):
        file, line, text = error.filename or file, error.lineno, f'{type(error).__name__}: {error.msg}'
    elif isinstance(error, SystemExit):
        text = 'it ends the program (sys.exit), which a module must not do when it is imported'
    elif isinstance(error, DetkitError):
        return str(error)
    return f'{os.path.relpath(file)}:{line}: {text}'
