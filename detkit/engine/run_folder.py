"""The folder of a run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.dist import broadcast_object_list, is_main_process

from detkit.utils.errors import CheckpointError, DetkitError

CONFIG_FILE, LOG_FILE = 'config.py', 'train.log'


def run_of_config(path: str | Path) -> Path | None:
    """Return the run folder that a config file was written into; None for a config that is no run's own."""
    path = Path(path).absolute()
    return path.parent if path.name == CONFIG_FILE and (path.parent / LOG_FILE).is_file() else None


def run_name(path: str | Path | None) -> str:
    """Return what runs of a config file are called: the file's name, or that of the run whose own config it is."""
    if path is None:
        return 'run'
    folder = run_of_config(path)
    return Path(path).stem if folder is None else _first_of(folder).name


def _first_of(folder: Path) -> Path:
    """Return the folder that ``folder`` is numbered after: ``seg`` for ``seg-2``, where that exists."""
    stem, _, number = folder.name.rpartition('-')
    first = folder.with_name(stem) if stem and number.isdigit() else folder
    return first if first.is_dir() else folder


def next_free(base: Path) -> Path:
    """Make and return the first of ``base``, ``base-2``, ``base-3``, … that does not exist or is empty."""
    number = 1
    while True:
        folder = base if number == 1 else base.with_name(f'{base.name}-{number}')
        try:
            folder.mkdir(parents=True)  # fails when another run took it in the meantime
            return folder
        except FileExistsError:
            if folder.is_dir() and not any(folder.iterdir()):
                return folder
        number += 1


def newest_run(base: Path) -> Path | None:
    """Return the latest of ``base``, ``base-2``, … that holds a checkpoint."""
    candidates = [base, *base.parent.glob(f'{base.name}-*')]
    held = [(folder_number(base, folder), folder) for folder in candidates if any(folder.glob('*.pth'))]
    held = [(number, folder) for number, folder in held if number]
    return max(held)[1] if held else None


def folder_number(base: Path, folder: Path) -> int:
    """Return 1 for ``base`` itself, n for ``base-n``, 0 for any other folder."""
    if folder == base:
        return 1
    suffix = folder.name[len(base.name) + 1 :]
    return int(suffix) if folder.name.startswith(f'{base.name}-') and suffix.isdigit() else 0


def display_path(path: str | Path) -> str:
    """Return a path for messages: relative where it lies below the working folder."""
    path = Path(path).absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def choose_run_folder(work_dir: str | None, name: str, resume: bool | str) -> Path:
    """Return the folder that a training run writes to, which is made; every process of a distributed run gets the same.

    Args:
        work_dir: the config's; None for ``work_dirs/<name>``.
        name: the config's name.
        resume: False for a new folder; True to go on in the latest of the run's folders that holds a checkpoint; a
            checkpoint's path, or a run's folder, to go on there, unless ``work_dir`` says otherwise.

    Raises:
        CheckpointError: the checkpoint to resume does not exist.
    """
    if isinstance(resume, str) and not Path(resume).exists():
        raise CheckpointError(
            f'there is no checkpoint {resume} to resume. Give the path of a .pth file such as '
            'work_dirs/<run>/last.pth, a run folder, or --resume alone for the newest run of the config.'
        )
    answer: list[str] = ['']
    if is_main_process():
        base = Path(work_dir or Path('work_dirs') / name).absolute()
        folder: Path | None = None
        if isinstance(resume, str):
            parent = Path(resume).absolute() if Path(resume).is_dir() else Path(resume).absolute().parent
            if work_dir is None or parent == base:
                folder = parent
        elif resume:
            folder = newest_run(base)
        answer[0] = str(folder or next_free(_first_of(base) if base.is_dir() else base))
    broadcast_object_list(answer)
    return Path(answer[0])


@contextmanager
def removed_on_mistake(folder: Path | None) -> Iterator[None]:
    """Remove the folder when a mistake of the user's ends the run before it has begun.

    The folder (None for none) is removed only if it holds nothing but the config and the log of that attempt.
    """
    try:
        yield
    except DetkitError:
        written = list(folder.iterdir()) if folder is not None and is_main_process() else []
        if written and {path.name for path in written} <= {CONFIG_FILE, LOG_FILE}:
            for path in written:
                path.unlink()
            folder.rmdir()
        raise
