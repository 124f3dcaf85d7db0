"""The files in the folder of a run that goes on from a checkpoint: what a kill left out, and what is later."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from detkit.engine.checkpoint import copy_checkpoint, load_checkpoint, progress_of, stated_epoch
from detkit.engine.run_folder import CONFIG_FILE, RESULTS_FILE, SCALARS_FILE, display_path, is_same_folder
from detkit.utils.errors import CheckpointError
from detkit.utils.files import SaveError, save_error

if TYPE_CHECKING:
    from detkit.engine.runner import Runner

LATER_FOLDER = 'later_epochs'


def set_aside_later(folder: Path, source: Path) -> Path | None:
    """Move the checkpoints of a run that are later than the one that it goes back to into a folder inside its own.

    Otherwise they would be mixed with those of the epochs that are trained anew, and the next resume would go on from
    them. Copies of the config and of the results are beside them, as the run's own lose what is later.

    Args:
        folder: the run's.
        source: the checkpoint in it.

    Returns:
        ``later_epochs`` in ``folder``, or ``later_epochs-2``, …, the first that is new; None where none is later.

    Raises:
        SaveError: the disk is full or read-only.
    """
    own = _position(source)
    others = [path for path in sorted(folder.glob('*.pth')) if not path.samefile(source)]
    found = [(path, _position(path)) for path in others if own is not None and stated_epoch(path) > own[0]]
    later = [path for path, position in found if position is not None and position > own]
    if not later:
        return None
    number, aside = 1, folder / LATER_FOLDER
    while aside.exists():
        number += 1
        aside = folder / f'{LATER_FOLDER}-{number}'
    copied = [folder / name for name in (RESULTS_FILE, SCALARS_FILE, CONFIG_FILE) if (folder / name).is_file()]
    try:
        aside.mkdir()
        for path in copied:
            shutil.copyfile(path, aside / path.name)
        for path in later:
            path.rename(aside / path.name)
    except OSError as error:
        raise save_error(aside, error, sum(path.stat().st_size for path in copied)) from error
    return aside


def begin_branch(runner: Runner, source: Path) -> None:
    """Prepare the folder of a run that goes on from a checkpoint that was named, and need not be its newest.

    Later checkpoints are set aside, see ``set_aside_later``, and the best weights so far are brought along from the
    folder of another run. Where they are not there any more, the best ones are looked for anew. Every process must call
    this.

    Args:
        runner: has loaded the state of the checkpoint.
        source: the checkpoint.

    Raises:
        SaveError: the disk is full or read-only.
    """
    loop, folder = runner.train_loop, Path(runner.work_dir)
    outcome: tuple[Path | None, bool] | SaveError = (None, True)
    if runner.rank == 0:
        try:
            is_own = is_same_folder(source.absolute().parent, folder)
            aside = set_aside_later(folder, source) if is_own else None
            outcome = aside, (is_own and aside is None) or _bring_best(runner, source)
        except SaveError as error:
            outcome = error  # which ends the other processes, too
    outcome = runner.broadcast_from_main(outcome)
    if isinstance(outcome, SaveError):
        raise outcome
    aside, has_best = outcome
    if aside is not None:
        runner.console.line(f'note     what is later than {source.name} is kept in {display_path(aside)}')
    if not has_best:
        runner.console.line(
            f'note     the best weights so far, of epoch {loop.best_epoch}, are no longer there: best.pth will hold '
            'the best ones from now on'
        )
        loop.forget_best()


def _bring_best(runner: Runner, source: Path) -> bool:
    """Copy the best weights so far into the run's folder, unless they are there; return whether they are."""
    loop, best = runner.train_loop, Path(runner.work_dir) / 'best.pth'
    if not loop.best_epoch or _epoch(best) == loop.best_epoch:
        return True
    beside = source.with_name(best.name)
    of_epoch = source if loop.is_between_epochs and loop.epoch == loop.best_epoch else beside
    if of_epoch is beside and _epoch(beside) != loop.best_epoch:
        return False
    copy_checkpoint(of_epoch, best)
    return True


def write_missing(runner: Runner, names: Sequence[str]) -> None:
    """Write the checkpoints of the epoch that a resumed run goes on from which its folder lacks.

    A kill may have come between ``best.pth`` and ``last.pth``. What cannot be written is noted.

    Args:
        runner: the main process's, which has loaded the state of ``runner.resumed_from``, of an epoch's end.
        names: the files.
    """
    for name in names:
        path = Path(runner.work_dir) / name
        try:
            if path != runner.resumed_from and _epoch(path) != runner.epoch:
                copy_checkpoint(runner.resumed_from, path)
        except SaveError as error:
            runner.console.line(f'note     {error} The run goes on.')


def _position(path: Path) -> tuple[int, int] | None:
    """Return how far a checkpoint has been trained, see ``progress_of``; None where it cannot be read."""
    try:
        return progress_of(load_checkpoint(path, mmap=True))
    except CheckpointError:
        return None


def _epoch(path: Path) -> int | None:
    position = _position(path)
    return None if position is None else position[0]
