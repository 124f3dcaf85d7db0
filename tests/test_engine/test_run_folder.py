"""A run has its folder for itself, and nothing that a run has written is lost by starting another."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

import pytest
from processes import Child, free_ports

from detkit.cli.command import run_command
from detkit.engine import Runner, load_checkpoint
from detkit.engine.folder_lock import LOCK_FILE, is_locked, lock_folder, unlock_folder
from detkit.engine.run_folder import choose_run_folder, next_free
from detkit.utils.errors import CheckpointError, ConfigError

from .dummy import dummy_config

HOLDER = """
import sys
from pathlib import Path
from detkit.engine.folder_lock import lock_folder
print(lock_folder(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""
STARTER = """
import sys
from pathlib import Path
from detkit.engine.run_folder import next_free
print('ready', flush=True)
sys.stdin.readline()
print(next_free(Path(sys.argv[1])).name, flush=True)
sys.stdin.read()
"""
RANK = """
import sys
from torch import distributed
from detkit.engine.run_folder import choose_run_folder
rank, port, work_dir, resume = sys.argv[1:]
distributed.init_process_group('gloo', init_method=f'tcp://127.0.0.1:{port}', rank=int(rank), world_size=2)
try:
    print(choose_run_folder(work_dir, 'run', bool(int(resume))).name)
except Exception as error:
    print(type(error).__name__, error)
distributed.destroy_process_group()
"""


def train(work_dir: Path, **changes) -> Runner:
    runner = Runner(dummy_config(work_dir, **changes))
    runner.train()
    return runner


def content(folder: Path) -> dict[str, bytes]:
    """Return the files of a run, except for its log, which may say of each start why it failed."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != 'train.log'}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a finished run of 4 epochs."""
    train(tmp_path / 'run')
    return tmp_path / 'run'


@pytest.fixture
def holder(run: Path) -> Iterator[Child]:
    """Another process that has locked the folder of ``run``."""
    with Child(HOLDER, str(run)) as process:
        assert process.stdout.readline().strip() == 'None'
        yield process


def test_a_run_in_use_is_not_resumed(run, holder):
    before = content(run)
    with pytest.raises(CheckpointError, match=rf'run is in use: process {holder.pid} on .* trains in it'):
        train(run, resume=True, train_cfg=dict(max_epochs=5))
    with pytest.raises(CheckpointError, match='is in use'):
        train(run, resume=str(run / 'last.pth'), train_cfg=dict(max_epochs=5))
    assert content(run) == before
    holder.kill()  # its lock goes with it, though its file stays
    assert (run / LOCK_FILE).exists()
    train(run, resume=True, train_cfg=dict(max_epochs=5))
    assert load_checkpoint(run / 'last.pth')['meta']['epoch'] == 5
    assert not (run / LOCK_FILE).exists()


def test_a_new_run_goes_elsewhere_than_one_in_use(run, holder):
    for path in run.iterdir():
        if path.name != LOCK_FILE:
            path.unlink()
    assert next_free(run).name == 'run-2'
    unlock_folder(run.with_name('run-2'))


def test_a_file_is_no_folder_of_a_run(tmp_path):
    file = tmp_path / 'a.csv'
    file.touch()
    for resume in (False, True):
        with pytest.raises(ConfigError, match=r'a\.csv is a file. Give the name of a folder'):
            train(file, resume=resume)
        with pytest.raises(ConfigError, match='is too long for the path of a file'):
            train(tmp_path / ('a' * 5000), resume=resume)
    with pytest.raises(CheckpointError, match='is too long for the path of a file'):
        train(tmp_path / 'run', resume='a' * 5000)
    assert [path.name for path in tmp_path.iterdir()] == ['a.csv']


def test_starts_at_once_never_share_a_folder(tmp_path):
    (tmp_path / 'run').mkdir()  # an empty one may be taken, by one of them
    with ExitStack() as stack:
        starters = [stack.enter_context(Child(STARTER, str(tmp_path / 'run'))) for _ in range(4)]
        for process in starters:
            assert process.stdout.readline() == 'ready\n'
        for process in starters:
            process.stdin.write('\n')
            process.stdin.flush()
        names = [process.stdout.readline().strip() for process in starters]
    assert sorted(names) == ['run', 'run-2', 'run-3', 'run-4']


def choose_on_two_ranks(work_dir: Path, resume: bool) -> list[str]:
    """Return what each of two processes of a run gets from ``choose_run_folder``: the folder's name, or the error."""
    (port,) = free_ports()
    with ExitStack() as stack:
        processes = [
            stack.enter_context(Child(RANK, str(rank), port, str(work_dir), str(int(resume)))) for rank in range(2)
        ]
        return [process.communicate(timeout=100).splitlines()[-1] for process in processes]


def test_the_ranks_of_a_run_share_its_folder(tmp_path):
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'train.log').touch()
    assert choose_on_two_ranks(tmp_path / 'run', False) == ['run-2', 'run-2']


def test_all_ranks_end_where_the_run_is_in_use(run, holder):
    first, second = choose_on_two_ranks(run, True)
    assert first == second and first.startswith('CheckpointError') and f'process {holder.pid}' in first


def test_a_lock_is_the_processs_own(tmp_path):
    assert lock_folder(tmp_path) is None and is_locked(tmp_path)
    assert lock_folder(tmp_path) is None  # again
    with Child(HOLDER, str(tmp_path)) as process:
        assert 'process' in process.stdout.readline()
        process.communicate()
    assert is_locked(tmp_path)
    unlock_folder(tmp_path)
    unlock_folder(tmp_path)
    assert not is_locked(tmp_path) and not list(tmp_path.iterdir())


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    """There a run goes on unlocked, and leaves no file of a lock; any other fault is an error."""
    fcntl = pytest.importorskip('fcntl')
    fault = errno.ENOLCK

    def refuse(*args: object) -> None:
        raise OSError(fault, os.strerror(fault))

    monkeypatch.setattr(fcntl, 'lockf', refuse)
    assert lock_folder(tmp_path) is None and not is_locked(tmp_path) and not list(tmp_path.iterdir())
    fault = errno.EIO
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        lock_folder(tmp_path)
    assert not is_locked(tmp_path)


def test_a_lock_file_that_its_holder_removed_meanwhile_is_made_again(tmp_path, monkeypatch):
    fcntl = pytest.importorskip('fcntl')
    lockf, calls = fcntl.lockf, []

    def lock_late(file: TextIO, operation: int) -> None:
        calls.append(file)
        if len(calls) == 1:
            (tmp_path / LOCK_FILE).unlink()
        lockf(file, operation)

    monkeypatch.setattr(fcntl, 'lockf', lock_late)
    assert lock_folder(tmp_path) is None and len(calls) == 2
    assert f'process {os.getpid()}' in (tmp_path / LOCK_FILE).read_text()
    unlock_folder(tmp_path)


def test_a_failed_start_keeps_no_lock(run):
    with pytest.raises(CheckpointError, match='another model'):
        train(run, resume=True, model=dict(width=4))
    assert not is_locked(run)


def test_a_resumed_runs_config_is_replaced_only_when_it_fits(run):
    before = content(run)
    with pytest.raises(CheckpointError, match='another model'):
        train(run, resume=True, model=dict(width=4))
    assert content(run) == before
    train(run, resume=True, train_cfg=dict(max_epochs=5))
    assert (run / 'config.py').read_bytes() != before['config.py']


@pytest.mark.parametrize(
    ('damage', 'reason'),
    [
        (
            lambda path: path.write_bytes(path.read_bytes()[:-200]),
            r'last.pth \([\d,]+ bytes\) is damaged, best.pth holds weights only',
        ),
        (lambda path: path.write_bytes(b''), r'last.pth \(0 bytes\) is damaged'),
        (lambda path: path.unlink(), 'best.pth holds weights only'),
    ],
)
def test_a_run_without_an_intact_checkpoint_is_not_begun_anew(run, damage, reason):
    damage(run / 'last.pth')
    before = content(run)
    for resume in (True, str(run)):
        with pytest.raises(CheckpointError, match=f'{reason}.*would overwrite the run.*load_from.: .*best.pth'):
            train(run, resume=resume, train_cfg=dict(max_epochs=5))
    assert content(run) == before


def test_results_alone_are_not_overwritten(run):
    for path in run.glob('*.pth'):
        path.unlink()
    before = content(run)
    with pytest.raises(CheckpointError, match='there is no .pth file.*remove '):
        train(run, resume=True)
    (run / 'results.csv').unlink()
    del before['results.csv']
    with pytest.raises(CheckpointError, match='there is no .pth file'):
        train(run, resume=True)  # scalars.json goes beyond the first epoch
    assert content(run) == before


def test_an_older_run_is_not_resumed_in_its_place(run, monkeypatch):
    shutil.copytree(run, run.with_name('run-2'))
    (run.with_name('run-2') / 'last.pth').unlink()
    (run.with_name('run-2') / 'best.pth').unlink()
    with pytest.raises(CheckpointError, match='run-2 holds the results'):
        train(run, resume=True)


@pytest.mark.parametrize('resume', [True, None])
def test_a_run_stopped_in_its_first_epoch_begins_anew_there(run, tmp_path, resume):
    folder = tmp_path / 'early'
    folder.mkdir()
    for name in ('config.py', 'train.log'):
        shutil.copy(run / name, folder / name)
    (folder / 'scalars.json').write_text('{"epoch": 1, "iter": 2, "train/cls": 77.0}\n')
    (folder / 'results.csv').write_text('epoch,time,train/cls\n1,2.0,77.0\n')  # killed before the checkpoint behind it
    (folder / 'skipped.csv').write_text('split,path,line,reason\ntrain,old.jpg,,broken\n')
    train(folder, resume=resume or str(folder))
    assert [path.name for path in tmp_path.glob('early*')] == ['early']
    assert (folder / 'results.csv').read_text().count('\n') == 5
    assert load_checkpoint(folder / 'last.pth')['meta']['epoch'] == 4
    assert '77.0' not in (folder / 'scalars.json').read_text() and not (folder / 'skipped.csv').exists()


@pytest.mark.parametrize('parent', ['/proc/none', 'file'])
def test_a_folder_that_cannot_be_made(tmp_path, parent):
    (tmp_path / 'file').touch()
    with pytest.raises(ConfigError, match=r'run folder .*run cannot be made .* another one by work_dir='):
        choose_run_folder(str(tmp_path / parent / 'run'), 'run', False)


def test_a_checkpoint_among_other_files_goes_on_elsewhere(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / 'downloads'
    folder.mkdir()
    shutil.copy(run / 'last.pth', folder)
    (folder / '.holiday.jpg.tmp').touch()
    (folder / 'holiday.jpg').touch()
    for work_dir in (None, str(folder)):
        chosen = choose_run_folder(work_dir, 'run', str(folder / 'last.pth'))
        assert chosen == (Path('work_dirs/run').absolute() if work_dir is None else folder.with_name('downloads-2'))
        unlock_folder(chosen)
    assert {path.name for path in folder.iterdir()} == {'last.pth', '.holiday.jpg.tmp', 'holiday.jpg'}
    (folder / 'holiday.jpg').unlink()
    (folder / '.holiday.jpg.tmp').unlink()
    assert choose_run_folder(None, 'run', str(folder / 'last.pth')) == folder  # nothing but checkpoints
    unlock_folder(folder)


@pytest.mark.parametrize('name', ['disk', 'disk/runs/run'])
def test_a_link_to_a_folder_that_is_gone(tmp_path, name):
    (tmp_path / 'disk').symlink_to(tmp_path / 'unmounted')
    with pytest.raises(ConfigError, match=r'disk is a link to .*unmounted, which is not there.* by work_dir='):
        choose_run_folder(str(tmp_path / name), 'run', False)
    (tmp_path / 'unmounted').mkdir()
    folder = choose_run_folder(str(tmp_path / name), 'run', False)
    assert folder == tmp_path / name and is_locked(tmp_path / 'unmounted' / name.removeprefix('disk').strip('/'))
    unlock_folder(folder)


def test_a_tool_says_which_path_is_wrong(tmp_path, capsys):
    assert run_command(lambda: open(tmp_path / 'none' / 'x.json', 'w')) == 2
    assert capsys.readouterr().err == f'error: {tmp_path}/none/x.json: No such file or directory\n'

    def bug() -> None:
        raise OSError('unknown')

    with pytest.raises(OSError, match='unknown'):
        run_command(bug)
