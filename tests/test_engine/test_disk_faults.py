"""A disk that is full, read-only or gone: the last checkpoint stays, the run goes on and says what is lost."""

import json
import os
import signal
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from disks import full_disk
from matplotlib.figure import Figure

from detkit.analysis.charts import save_figure
from detkit.analysis.hooks import RunPicturesHook
from detkit.analysis.html_page import HtmlPage
from detkit.analysis.speed.complexity import ModuleCost, write_costs
from detkit.engine import Runner, load_checkpoint
from detkit.engine.hooks import CheckpointHook, Hook
from detkit.engine.hooks import scalar_log_hook as scalars
from detkit.registry import HOOKS
from detkit.utils import files
from detkit.utils.files import SaveError, append_text, draft_folder, replacing, size_text, write_text

from .dummy import DummyMetric, dummy_config
from .test_resume import assert_same_end, train

pytest.importorskip('resource')  # Windows has no limits of file sizes


def failing_between(runner: Runner, first: int, last: int, disk: ExitStack) -> Runner:
    """Make the disk full from iteration ``first`` until ``last`` are done, or until ``disk`` is closed."""
    original = runner.call_hook

    def call_hook(name: str, **kwargs) -> None:
        if name == 'after_fit_iter' and runner.iter == first:
            runner.checkpoint_writer.wait()
            disk.enter_context(full_disk())
        original(name, **kwargs)
        if runner.iter == last and name == 'after_fit_iter':
            runner.checkpoint_writer.wait()
            disk.close()

    runner.call_hook = call_hook
    return runner


def test_a_full_disk_for_a_while(tmp_path, capsys):
    every = dict(train_cfg=dict(max_epochs=4, val_interval=2, log_interval=1))
    straight = train(tmp_path / 'a', **every)
    lines = (tmp_path / 'a' / 'scalars.json').read_text().splitlines()
    with ExitStack() as disk:
        runner = failing_between(Runner(dummy_config(tmp_path / 'b', **every)), 2, 8, disk)
        capsys.readouterr()
        runner.train()
    out = capsys.readouterr().out
    assert 'last.pth cannot be written (File too large): it needs ' in out and ' are free' in out
    assert 'raise it (ulimit -f)' in out
    assert out.count('scalars.json cannot write') == 1 and 'the log file cannot be written' in out
    assert_same_end(straight, load_checkpoint(tmp_path / 'b' / 'last.pth'))
    assert not list((tmp_path / 'b').glob('.*.tmp'))
    written = (tmp_path / 'b' / 'scalars.json').read_text().splitlines()
    assert [json.loads(line)['iter'] for line in written] == [json.loads(line)['iter'] for line in lines]
    assert len((tmp_path / 'b' / 'results.csv').read_text().splitlines()) == 5


def test_the_checkpoint_before_stays_and_the_run_ends_with_an_error(tmp_path):
    with ExitStack() as disk:
        runner = failing_between(Runner(dummy_config(tmp_path / 'run')), 5, 1000, disk)
        with pytest.raises(SaveError, match=r'last\.pth cannot be written'):
            runner.train()
    assert runner.epoch == 4
    assert load_checkpoint(tmp_path / 'run' / 'last.pth')['meta']['iter'] == 4
    assert_same_end(train(tmp_path / 'other'), train(tmp_path / 'run', resume=True))


@pytest.mark.parametrize('comes_back', [True, False])
def test_a_folder_that_vanishes(tmp_path, capsys, comes_back):
    runner = Runner(dummy_config(tmp_path / 'run'))
    original = runner.call_hook

    def call_hook(name: str, **kwargs) -> None:
        if name == 'after_fit_iter' and runner.iter in (4, 8):
            runner.checkpoint_writer.wait()
        if name == 'after_fit_iter' and runner.iter == 4:
            (tmp_path / 'run').rename(tmp_path / 'away')
        if name == 'after_fit_iter' and runner.iter == 8 and comes_back:
            (tmp_path / 'away').rename(tmp_path / 'run')
        original(name, **kwargs)

    runner.call_hook = call_hook
    if comes_back:
        runner.train()
        assert_same_end(train(tmp_path / 'other'), load_checkpoint(tmp_path / 'run' / 'last.pth'))
    else:
        with pytest.raises(SaveError, match=r'No such file.*its folder is gone'):
            runner.train()
        assert load_checkpoint(tmp_path / 'away' / 'last.pth')['meta']['iter'] == 3


@HOOKS.register_module()
class BrokenPicturesHook(Hook):
    is_optional = True

    def after_train_iter(self, runner, **kwargs) -> None:
        runner.log_picture('noise.jpg', np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
        raise PermissionError(13, 'Permission denied', 'chart.png')


def test_pictures_never_stop_a_run(tmp_path, capsys):
    (tmp_path / 'run' / 'noise.jpg').mkdir(parents=True)
    runner = Runner(dummy_config(tmp_path / 'run', custom_hooks=[dict(type='BrokenPicturesHook')]))
    (Path(runner.work_dir) / 'noise.jpg').mkdir(exist_ok=True)
    runner.train()
    out = capsys.readouterr().out
    assert out.count('pictures cannot write') == 1
    assert out.count('BrokenPicturesHook cannot write (') == 1 and 'chart.png: Permission denied' in out


def test_pictures_make_no_other_folder_in_place_of_one_that_is_gone(tmp_path, capsys):
    hook = dict(type='RunPicturesHook', train_batches=0, val_images=0)
    runner = Runner(dummy_config(tmp_path / 'run', default_hooks=dict(pictures=hook)))
    original = runner.call_hook

    def call_hook(name: str, **kwargs) -> None:
        if name == 'before_val_epoch' and (tmp_path / 'run').exists():
            (tmp_path / 'run').rename(tmp_path / 'away')
        original(name, **kwargs)
        if name == 'after_val_epoch':
            runner.log_picture('noise.jpg', np.zeros((8, 8, 3), np.uint8))

    runner.call_hook = call_hook
    with pytest.raises(SaveError, match='its folder is gone'):
        runner.train()
    with pytest.raises(FileNotFoundError):
        next(hook for hook in runner.hooks if isinstance(hook, RunPicturesHook)).after_run(runner)
    assert [path.name for path in tmp_path.iterdir()] == ['away']
    assert 'pictures cannot write' in capsys.readouterr().out


def test_another_kind_of_error_of_an_optional_hook_is_none_of_the_disk(tmp_path, monkeypatch):
    def fail(self, runner, **kwargs) -> None:
        raise KeyError('column')

    monkeypatch.setattr(BrokenPicturesHook, 'after_train_iter', fail)
    with pytest.raises(Exception, match='column'):
        Runner(dummy_config(tmp_path / 'run', custom_hooks=[dict(type='BrokenPicturesHook')])).train()


def test_minutes_between_checkpoints(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr('detkit.engine.hooks.checkpoint_hook.time.monotonic', lambda: clock[0])
    hook = dict(type='CheckpointHook', interval=100, interval_minutes=5)
    runner = Runner(dummy_config(tmp_path / 'run', default_hooks=dict(checkpoint=hook)))
    original, saved = runner.call_hook, []

    def call_hook(name: str, **kwargs) -> None:
        if name == 'after_fit_iter':
            clock[0] += 140
        original(name, **kwargs)
        if name == 'after_fit_iter':
            runner.checkpoint_writer.wait()
            path = tmp_path / 'run' / 'last.pth'
            saved.append(load_checkpoint(path)['meta']['iter'] if path.exists() else 0)

    runner.call_hook = call_hook
    runner.train()
    # The first epoch is saved; then every third iteration is due, of which epochs' ends are left to the next one.
    assert saved == [0, 0, 0, 3, 3, 3, 7, 7, 7, 10, 10, 10]
    assert CheckpointHook().interval_minutes == 10


def test_a_signal_that_finds_no_space_says_so(tmp_path):
    runner = Runner(dummy_config(tmp_path / 'run'))
    original = runner.call_hook

    def call_hook(name: str, **kwargs) -> None:
        if name == 'after_train_iter' and runner.iter == 4:
            signal.raise_signal(signal.SIGTERM)
        if name == 'before_stop':
            with full_disk():
                return original(name, **kwargs)
        return original(name, **kwargs)

    runner.call_hook = call_hook
    with pytest.raises(SaveError, match='last.pth cannot be written'):
        runner.train()


@pytest.mark.parametrize('values', [[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]], ids=['first', 'last'])
def test_a_damaged_best_checkpoint_costs_only_its_evaluation(tmp_path, capsys, monkeypatch, values):
    """That of the last epoch is written anew, without a look at the file."""
    results = iter(values)
    monkeypatch.setattr(DummyMetric, 'compute_metrics', lambda self, _: {'bbox_mAP': next(results)})
    runner = Runner(dummy_config(tmp_path / 'run'))
    original, best = runner.call_hook, tmp_path / 'run' / 'best.pth'

    def call_hook(name: str, **kwargs) -> None:
        if name == 'after_train':
            best.write_bytes(best.read_bytes()[:-100])
        original(name, **kwargs)

    runner.call_hook = call_hook
    runner.train()
    is_damaged = values[0] > values[-1]
    assert ('the best weights are not evaluated: Checkpoint' in capsys.readouterr().out) == is_damaged
    assert is_damaged or load_checkpoint(best).keys() == {'meta', 'state_dict'}
    assert load_checkpoint(tmp_path / 'run' / 'last.pth')['meta']['epoch'] == 4


# ---- a kill while a file is rewritten -------------------------------------------------------------------------------


class Killed(BaseException):
    pass


@pytest.mark.parametrize('name', ['scalars.json', 'results.csv', 'config.py'])
def test_a_kill_while_a_resumed_run_rewrites_a_file_loses_nothing(tmp_path, monkeypatch, name):
    every = dict(train_cfg=dict(max_epochs=4, val_interval=2, log_interval=1))
    train(tmp_path / 'run', **every)
    path = tmp_path / 'run' / name
    with open(path, 'a') as file:
        file.write('# half a line' if name == 'config.py' else '{"iter": 90, "half')
    before = path.read_bytes()
    replace = os.replace

    def kill(source, target) -> None:
        if Path(target) == path:
            raise Killed
        replace(source, target)

    monkeypatch.setattr(files.os, 'replace', kill)
    with pytest.raises(Killed):
        train(tmp_path / 'run', resume=True, **every)
    assert path.read_bytes() == before


def test_new_columns_are_written_beside_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'results.csv'
    scalars._append_rows(path, [{'epoch': 1, 'loss': 2}])
    before = path.read_text()

    def kill(source, target) -> None:
        raise Killed

    monkeypatch.setattr(files.os, 'replace', kill)
    with pytest.raises(Killed):
        scalars._append_rows(path, [{'epoch': 2, 'loss': 1, 'map': 3}])
    monkeypatch.undo()
    assert path.read_text() == before
    scalars._append_rows(path, [{'epoch': 2, 'loss': 1, 'map': 3}, {'epoch': 3, 'loss': 0}])
    assert path.read_text() == 'epoch,loss,map\n1,2,\n2,1,3\n3,0,\n'


def test_text_is_appended_whole_or_not_at_all(tmp_path):
    path = tmp_path / 'a.txt'
    append_text(path, 'x' * 500 + '\n')
    with full_disk(600), pytest.raises(OSError):
        append_text(path, 'y' * 500 + '\n')
    assert path.read_text() == 'x' * 500 + '\n'
    append_text(path, 'ä\udcff\n')
    assert path.read_text(encoding='utf-8').endswith('ä\\udcff\n')


def test_a_pipe_in_place_of_a_file_is_an_error_and_no_wait(tmp_path):
    os.mkfifo(tmp_path / 'scalars.json')
    with pytest.raises(OSError):
        append_text(tmp_path / 'scalars.json', 'a line\n')


def test_a_failed_replacement_leaves_no_temporary_file(tmp_path):
    path = tmp_path / 'a.txt'
    write_text(path, 'old')
    with full_disk(10), pytest.raises(OSError, match=r'a\.txt') as caught:
        write_text(path, 'new' * 100)
    assert caught.value.filename == str(path)
    with pytest.raises(ValueError), replacing(path) as file:
        file.write(b'new')
        raise ValueError
    assert path.read_text() == 'old' and [entry.name for entry in tmp_path.iterdir()] == ['a.txt']


def test_a_full_disk_is_named_by_the_folder_of_a_draft(tmp_path):
    with full_disk(10), pytest.raises(OSError) as caught, draft_folder(tmp_path) as draft:
        (draft / 'network.onnx').write_bytes(b'new' * 100)
    assert caught.value.filename == str(tmp_path) and not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError) as caught, draft_folder(tmp_path) as draft:
        (draft / 'missing').read_text()
    assert caught.value.filename.endswith('missing')


@pytest.mark.parametrize('name', ['chart.png', 'chart.svg', 'page.html', 'costs.json', 'costs.csv'])
def test_reports_are_written_whole_or_not_at_all(tmp_path, name):
    def write(path: Path) -> None:
        if path.suffix == '.html':
            HtmlPage('title').save(path)
        elif path.stem == 'costs':
            write_costs([ModuleCost('stem', *[1] * (len(fields(ModuleCost)) - 1))] * 20, path)
        else:
            save_figure(Figure(), path)

    path = tmp_path / name
    write(path)
    before = path.read_bytes()
    assert len(before) > 100
    with full_disk(10), pytest.raises(OSError) as caught:
        write(path)
    assert caught.value.filename == str(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize('size, text', [(0, '0 B'), (999, '999 B'), (2_500_000, '2.5 MB'), (5e15, '5e+03 TB')])
def test_sizes(size, text):
    assert size_text(int(size)) == text


def test_two_processes_that_write_one_file_do_not_mix(tmp_path):
    path = tmp_path / 'predictions.csv'
    with pytest.raises(OSError, match=r"another process writes it.*predictions\.csv'"), replacing(path) as file:
        file.write(b'mine')
        write_text(path, 'of another process')
    assert path.read_text() == 'of another process'
    assert list(tmp_path.iterdir()) == [path]
