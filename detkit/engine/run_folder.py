"""The folder of a run."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import broadcast_object_list, is_main_process

from detkit.config.resolve import origins_of
from detkit.engine.folder_lock import LOCK_FILE, is_locked, lock_folder, unlock_folder
from detkit.utils.errors import CheckpointError, ConfigError, DetkitError, refuse_long_name
from detkit.utils.files import remove_leftovers
from detkit.utils.front_end import argument, resuming

CONFIG_FILE, LOG_FILE = 'config.py', 'train.log'
RESULTS_FILE, SCALARS_FILE = 'results.csv', 'scalars.json'


def run_of_config(path: str | Path) -> Path | None:
    """Return the run folder that a config file was written into; None for a config that is no run's own."""
    path = Path(path).absolute()
    return path.parent if path.name == CONFIG_FILE and (path.parent / LOG_FILE).is_file() else None


def run_name(path: str | Path | None, config: Config | None = None) -> str:
    """Return what runs of a config file are called: the file's name, or that of the run whose own config it is.

    Args:
        path: the file.
        config: what it holds: where an option changes the size of the model, a size in the file's name becomes that
            one. ``det_n_custom.py`` with ``size=s`` gives ``det_s_custom``.
    """
    if path is None:
        return 'run'
    folder = run_of_config(path)
    if folder is not None:
        return _first_of(folder).name
    origins = None if config is None else origins_of(config)
    if origins is None or 'size' not in config or origins.find(('size',)).file is not None:
        return Path(path).stem
    sizes = '|'.join(sorted(map(re.escape, config.get('sizes') or ()), key=len, reverse=True))
    return re.sub(rf'(?<=_)({sizes})(?=_|$)', lambda _: str(config.size), Path(path).stem, count=1)


def _first_of(folder: Path) -> Path:
    """Return the folder that ``folder`` is numbered after: ``seg`` for ``seg-2``, where that exists."""
    stem, _, number = folder.name.rpartition('-')
    first = folder.with_name(stem) if stem and number.isdecimal() else folder
    return first if first.is_dir() else folder


def check_no_file(folder: Path) -> None:
    """Check that what is to be a run's or a study's folder may be one.

    Raises:
        ConfigError: it is a file, its path is too long for the system, or a link in it leads to a folder that is gone.
    """
    refuse_long_name(folder, ConfigError)
    for path in (folder, *folder.parents):
        if path.is_symlink() and not path.exists():
            raise ConfigError(
                f'the run folder {display_path(folder)} cannot be made: {display_path(path)} is a link to '
                f'{os.readlink(path)}, which is not there. Bring that folder back, perhaps by mounting its disk, or '
                f'give another one by {argument("work_dir")}.'
            )
    if folder.is_file():
        raise ConfigError(f'{display_path(folder)} is a file. Give the name of a folder by {argument("work_dir")}.')


def next_free(base: Path) -> Path:
    """Make, lock and return the first of ``base``, ``base-2``, ``base-3``, … that does not exist or is empty.

    Raises:
        ConfigError: the folder cannot be made or written into.
    """
    number = 1
    while True:
        folder = base if number == 1 else base.with_name(f'{base.name}-{number}')
        try:
            folder.mkdir(parents=True)  # fails when another run took it in the meantime
        except FileExistsError:
            if not folder.is_dir() or _content(folder):
                number += 1
                continue
        except OSError as error:
            raise _not_writable(folder, error) from error
        if _lock(folder) is None:
            if not _content(folder):  # a run that ended since
                return folder
            unlock_folder(folder)
        number += 1


def _lock(folder: Path) -> str | None:
    """Lock a folder; return the process that has it instead, None for nobody."""
    try:
        return lock_folder(folder)
    except OSError as error:
        raise _not_writable(folder, error) from error


def _not_writable(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f'the run folder {display_path(folder)} cannot be made or written into ({error.strerror or error}). '
        f'Give another one by {argument("work_dir")}.'
    )


def _content(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name != LOCK_FILE]


def newest_run(base: Path) -> Path | None:
    """Return the latest of ``base``, ``base-2``, … that has a history, see ``has_history``."""
    return next((folder for folder in reversed(_numbered(base)) if has_history(folder)), None)


def _numbered(base: Path) -> list[Path]:
    """Return those of ``base``, ``base-2``, … that exist, in this order."""
    beside = base.parent.iterdir() if base.parent.is_dir() else ()
    return sorted(
        (folder for folder in beside if folder_number(base, folder) and folder.is_dir()),
        key=lambda folder: folder_number(base, folder),
    )


def has_history(folder: Path) -> bool:
    """Return whether a run folder holds what a new start in it would overwrite: a checkpoint, or later epochs' results.

    A run that was stopped before it wrote its first checkpoint, at the end of its first epoch, has no history.
    """
    return (
        any(folder.glob('*.pth'))
        or any(line[:1].isdecimal() and not line.startswith('1,') for line in _lines(folder / RESULTS_FILE))
        or any(line.strip() and not line.startswith('{"epoch": 1,') for line in _lines(folder / SCALARS_FILE))
    )


def _is_begun(folder: Path) -> bool:
    """Return whether a run has been started in a folder."""
    return any((folder / name).is_file() for name in (CONFIG_FILE, LOG_FILE))


def _is_for_run(folder: Path) -> bool:
    """Return whether a folder is that of a run, or holds nothing but checkpoints, so that it may become one."""
    names = {path.name for path in _content(folder) if path.suffix != '.pth'}
    return not names or not names.isdisjoint({CONFIG_FILE, LOG_FILE, RESULTS_FILE, SCALARS_FILE})


def _lines(path: Path) -> list[str]:
    return path.read_text(errors='replace').splitlines() if path.is_file() else []


def folder_number(base: Path, folder: Path) -> int:
    """Return 1 for ``base`` itself, n for ``base-n``, 0 for any other folder."""
    if folder == base:
        return 1
    suffix = folder.name[len(base.name) + 1 :]
    return int(suffix) if folder.name.startswith(f'{base.name}-') and suffix.isdecimal() else 0


def is_same_folder(one: Path, other: Path) -> bool:
    """Return whether two paths, relative ones or through links, lead to one folder."""
    return one.resolve() == other.resolve()


def display_path(path: str | Path) -> str:
    """Return a path for messages: relative where it lies below the working folder."""
    path = Path(path).absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def choose_run_folder(work_dir: str | None, name: str, resume: bool | str) -> Path:
    """Return the folder that a training run writes to; every process of a distributed run gets the same.

    The folder is made, and locked by the main process.

    Args:
        work_dir: the config's; None for ``work_dirs/<name>``.
        name: the config's name.
        resume: False for a new folder; True to go on in the latest of the run's folders that has a history, and where
            none has, to start anew in the first, should a run have been stopped early there; a checkpoint's path, or a
            run's folder, to go on there, unless ``work_dir`` says otherwise. From a checkpoint among other files, in
            no run's folder, a run goes on in a new one.

    Raises:
        CheckpointError: the checkpoint to resume does not exist, or its run still trains.
        ConfigError: the folder cannot be made or written into.
    """
    if isinstance(resume, str):
        refuse_long_name(resume, CheckpointError)
    if isinstance(resume, str) and (not resume or not Path(resume).exists()):
        raise CheckpointError(
            f'there is no checkpoint {resume or repr(resume)} to resume. Give the path of a .pth file such as '
            f'work_dirs/<run>/last.pth, a run folder, or {resuming()} alone for the newest run of the config.'
        )
    answer: list[Path | DetkitError | None] = [None]
    if is_main_process():
        try:
            answer[0] = _claim(Path(work_dir or Path('work_dirs') / name).absolute(), work_dir is not None, resume)
        except DetkitError as error:
            answer[0] = error  # which ends the other processes too
    broadcast_object_list(answer)
    if isinstance(answer[0], DetkitError):
        raise answer[0]
    return answer[0]


def _claim(base: Path, is_given: bool, resume: bool | str) -> Path:
    """Choose and lock the folder of a run; ``is_given`` says that ``base`` is the config's own ``work_dir``."""
    folder: Path | None = None
    if isinstance(resume, str):
        parent = Path(resume).absolute() if Path(resume).is_dir() else Path(resume).absolute().parent
        if Path(resume).is_dir() and _content(parent) and not (_is_begun(parent) or has_history(parent)):
            raise CheckpointError(
                f'there is no run to resume in {display_path(parent)}, which holds other files. Give the folder of a '
                f'run, a new or empty one by {argument("work_dir")}, or leave the path out.'
            )
        if (not is_given or is_same_folder(parent, base)) and _is_for_run(parent):
            folder = parent
    elif resume:
        folder = newest_run(base) or next(filter(_is_begun, _numbered(base)), None)
    if folder is None:
        check_no_file(base)
        return next_free(_first_of(base) if base.is_dir() else base)
    holder = _lock(folder)
    if holder is not None:
        raise CheckpointError(
            f'{display_path(folder)} is in use: {holder} trains in it. Wait for that run, or stop it, before it is '
            f'resumed; without {resuming()}, another run of the config starts in a folder of its own.'
        )
    if is_locked(folder) and _is_begun(folder):
        remove_leftovers(folder)  # of this run, which was killed
    return folder


@contextmanager
def removed_on_mistake(folder: Path, is_new: bool) -> Iterator[None]:
    """Unlock the folder when a mistake of the user's ends the run before it has begun, and remove it if it is new.

    It is removed only if it holds nothing but the config and the log of that attempt. A disk without space counts as a
    mistake.
    """
    try:
        yield
    except (DetkitError, OSError):
        if is_main_process():
            unlock_folder(folder)
            written = list(folder.iterdir()) if is_new else []
            if written and {path.name for path in written} <= {CONFIG_FILE, LOG_FILE}:
                with suppress(OSError):  # it may be the folder that has failed
                    for path in written:
                        path.unlink()
                    folder.rmdir()
        raise
