"""The folder of a run that was killed between two of its files, or goes back to an earlier checkpoint."""

import csv
import os
from pathlib import Path

import pytest
from disks import full_disk

from detkit.datasets.skips import Skip
from detkit.engine import Runner, load_checkpoint
from detkit.engine.hooks import Hook
from detkit.utils.errors import ConfigError
from detkit.utils.files import SaveError, keep_lines

from .dummy import dummy_config
from .test_late_epochs import config as late_config
from .test_late_epochs import fitness_by_epoch
from .test_resume import Killed, assert_same_end, train_until_killed

VALUES = [0.1, 0.5, 0.2, 0.6]
HOOKS = dict(checkpoint=dict(type='CheckpointHook', save_period=1, background=False))


def prepared(work_dir: Path, values: list[float] = VALUES, **changes) -> Runner:
    changes = {'train_cfg': dict(max_epochs=4, val_interval=1), 'default_hooks': HOOKS, **changes}
    return fitness_by_epoch(Runner(dummy_config(work_dir, **changes)), values)


def kill(runner: Runner, epoch: int) -> None:
    """Kill a run when an epoch, its validation and its checkpoints are done."""
    train_until_killed(runner, 'after_fit_epoch', lambda: runner.epoch == epoch)


def checkpoints(folder: Path) -> dict[str, int]:
    """Return the epochs of the checkpoints in a folder."""
    return {path.name: load_checkpoint(path)['meta']['epoch'] for path in sorted(folder.glob('*.pth'))}


def epochs_in(table: Path) -> list[int]:
    with open(table) as file:
        return [int(row['epoch']) for row in csv.DictReader(file)]


@pytest.fixture(scope='module')
def straight(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('straight') / 'run'
    prepared(folder).train()
    return folder


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('epoch', [2, 4])
@pytest.mark.parametrize('name', ['best.pth', 'epoch_{}.pth', 'last.pth'])
def test_a_kill_between_the_files_of_an_epoch(straight, tmp_path, monkeypatch, name, epoch):
    folder, replace = tmp_path / 'run', os.replace

    def kill_before(source: Path, target: Path) -> None:
        if Path(target).name == name.format(epoch) and (folder / 'results.csv').read_text().count('\n') == epoch + 1:
            raise Killed
        replace(source, target)

    monkeypatch.setattr(os, 'replace', kill_before)
    with pytest.raises(Killed):
        prepared(folder).train()
    monkeypatch.undo()
    (folder / '.best.pth.tmp').write_bytes(b'what SIGKILL left')
    prepared(folder, resume=True).train()
    assert {path.name for path in folder.iterdir()} == {path.name for path in straight.iterdir()}
    assert checkpoints(folder) == checkpoints(straight)
    assert_same_end(*(load_checkpoint(run / 'last.pth') for run in (folder, straight)))


def test_going_back_sets_later_epochs_aside(straight, tmp_path, capsys):
    folder = tmp_path / 'run'
    prepared(folder).train()
    before = checkpoints(folder)
    kill(prepared(folder, [0.1, 0.05, 0.2, 0.6], resume=str(folder / 'epoch_1.pth')), 2)
    aside = folder / 'later_epochs'
    assert 'what is later than epoch_1.pth is kept in ' in capsys.readouterr().out
    assert checkpoints(aside) == {name: epoch for name, epoch in before.items() if name != 'epoch_1.pth'}
    assert epochs_in(aside / 'results.csv') == [1, 2, 3, 4] and epochs_in(folder / 'results.csv') == [1, 2]
    assert (aside / 'config.py').is_file() and (aside / 'scalars.json').is_file()
    assert checkpoints(folder) == {'best.pth': 1, 'epoch_1.pth': 1, 'epoch_2.pth': 2, 'last.pth': 2}
    prepared(folder, resume=True).train()
    assert 'last.pth: epoch 3, iteration 1' in capsys.readouterr().out  # not the epoch 4 that was left
    assert checkpoints(folder) == before and sorted(aside.parent.glob('later_epochs*')) == [aside]
    prepared(folder, resume=str(folder / 'epoch_3.pth')).train()
    assert checkpoints(folder / 'later_epochs-2') == {'best.pth': 4, 'epoch_4.pth': 4, 'last.pth': 4}
    assert_same_end(*(load_checkpoint(run / 'last.pth') for run in (folder, straight)))


def test_the_newest_checkpoint_by_its_name_sets_nothing_aside(tmp_path):
    folder = tmp_path / 'run'
    kill(prepared(folder), 3)
    prepared(folder, resume=str(folder / 'last.pth')).train()
    assert not (folder / 'later_epochs').exists()


def test_best_weights_come_along_to_another_folder(straight, tmp_path, capsys):
    first = tmp_path / 'first'
    kill(prepared(first), 3)
    prepared(tmp_path / 'a', [0.1, 0.5, 0.2, 0.3], resume=str(first / 'last.pth')).train()
    assert checkpoints(tmp_path / 'a')['best.pth'] == 2
    assert load_checkpoint(tmp_path / 'a' / 'last.pth')['loop']['best_fitness'] == pytest.approx(0.45)
    capsys.readouterr()
    prepared(tmp_path / 'b', [0.1, 0.5, 0.2, 0.3], resume=str(straight / 'epoch_3.pth')).train()
    assert 'the best weights so far, of epoch 2, are no longer there' in capsys.readouterr().out
    assert checkpoints(tmp_path / 'b')['best.pth'] == 4
    assert checkpoints(straight)['best.pth'] == 4 and not (straight / 'later_epochs').exists()


def test_no_space_to_set_epochs_aside(tmp_path):
    folder = tmp_path / 'run'
    prepared(folder).train()
    before = checkpoints(folder)
    (folder / 'scalars.json').write_text('{}\n' * 1000)
    runner = prepared(folder, resume=str(folder / 'epoch_1.pth'))
    with full_disk(), pytest.raises(SaveError, match='later_epochs cannot be written'):
        runner.train()
    assert checkpoints(folder) == before


def test_no_space_for_a_copy_of_the_best_weights(tmp_path):
    folder = tmp_path / 'run'
    runner = fitness_by_epoch(Runner(late_config(folder)), [0.5, 0.1, 0.1, 0.1, 0.1, 0.1])
    original = runner.call_hook

    def call_hook(name: str, **kwargs) -> None:
        if name == 'before_train_epoch' and runner.epoch == 3:
            runner.checkpoint_writer.wait()
            with full_disk():
                original(name, **kwargs)
        original(name, **kwargs)

    runner.call_hook = call_hook
    with pytest.raises(SaveError, match=r'best_before_restart\.pth cannot be written \(File too large\)'):
        runner.train()
    assert {path.suffix for path in folder.iterdir()} == {'.py', '.log', '.json', '.csv', '.pth'}
    resumed = fitness_by_epoch(Runner(late_config(folder, resume=True)), [0.5, 0.1, 0.1, 0.1, 0.1, 0.1])
    resumed.train()
    assert checkpoints(folder)['best_before_restart.pth'] == 1


def test_the_weights_of_a_restart_come_along_to_another_folder(tmp_path):
    values = [0.1, 0.5, 0.2, 0.6, 0.3, 0.4]
    fitness_by_epoch(Runner(late_config(tmp_path / 'straight')), values).train()
    kill(fitness_by_epoch(Runner(late_config(tmp_path / 'first')), values), 5)
    config = late_config(tmp_path / 'second') | dict(resume=str(tmp_path / 'first' / 'last.pth'))
    fitness_by_epoch(Runner(config), values).train()
    assert_same_end(*(load_checkpoint(tmp_path / name / 'last.pth') for name in ('straight', 'second')))


def test_a_half_line_of_skipped_data_is_none(tmp_path):
    class Spoil(Hook):
        def __init__(self, name: str) -> None:
            self.name = name

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            data_batch['skipped'] = [Skip(self.name, None, 'truncated')]

    folder = tmp_path / 'run'
    hooks = {**HOOKS, 'skipped': dict(type='SkippedHook', max_skipped=1.0)}
    kill(prepared(folder, custom_hooks=[Spoil('a.jpg')], default_hooks=hooks), 1)
    path = folder / 'skipped.csv'
    path.write_text(path.read_text() + 'train,b.j')
    prepared(folder, custom_hooks=[Spoil('b.jpg')], default_hooks=hooks, resume=True).train()
    rows = ['split,path,line,reason,count', 'train,a.jpg,,truncated,1', 'train,b.jpg,,truncated,1']
    assert path.read_text().splitlines() == rows


def test_lines_are_kept_whole(tmp_path):
    path = tmp_path / 'lines.txt'
    keep_lines(path, bool)
    assert not path.exists()
    path.write_bytes(b'1\nx\n3\n\xff\n4')
    keep_lines(path, lambda line: int(line) < 3)
    assert path.read_bytes() == b'1\nx\n\xff\n'


def test_a_start_without_space_leaves_no_folder(tmp_path):
    with full_disk(), pytest.raises(OSError, match='File too large') as caught:
        Runner(dummy_config(tmp_path / 'run'))
    assert not isinstance(caught.value, ConfigError) and str(tmp_path / 'run') in str(caught.value)
    assert not list(tmp_path.iterdir())
