"""Studies: trials, pruning, and a study that goes on after a stop or is shared."""

import csv
import json
import shutil
from multiprocessing import get_context
from pathlib import Path

import optuna
import pytest

from detkit.engine import train_from_config
from detkit.engine.hooks import Hook
from detkit.engine.stop_signals import TrainingStopped
from detkit.tuning import study as study_module
from detkit.tuning import tune_config
from detkit.utils.errors import ConfigError, DataError

CONFIG = Path(__file__).parents[2] / 'configs/yolov8/det_n_coco8.py'
SPACE = {'optim_wrapper.optimizer.lr': dict(low=1e-4, high=1e-1, log=True), 'widen_factor': [0.125, 0.25]}


def options(data, **more):
    base = dict(data_root=str(data), repeat_times=1, img_size=64, num_workers=0, batch_size=2, max_epochs=2)
    return {**base, 'device': 'cpu', 'train_cfg.val_interval': 1, 'default_hooks.pictures': None, **more}


def tune(data, folder, trials=2, space=SPACE, settings=None, **more):
    settings = {'num_trials': trials, 'pruner': 'none', 'num_startup_trials': 1, **(settings or {})}
    return tune_config(CONFIG, options(data, **more), space, settings, work_dir=folder)


def told(summary):
    """What a study has found, but for times and folders."""
    return [(t.number, t.state, t.fitness, t.epochs, t.params) for t in summary.trials]


@pytest.fixture(scope='module')
def whole(tiny_data, tmp_path_factory):
    """A study of two trials that nothing disturbed."""
    return tune(tiny_data, tmp_path_factory.mktemp('whole') / 'study')


@pytest.mark.thorough
def test_trials_are_runs_and_the_best_can_be_trained_again(whole):
    assert [trial.state for trial in whole.trials] == ['complete'] * 2
    assert len({tuple(trial.params.values()) for trial in whole.trials}) == 2
    assert whole.ranked[0].fitness == max(trial.fitness for trial in whole.trials)
    rows = list(csv.DictReader((whole.folder / 'trials.csv').open()))
    assert [row['widen_factor'] for row in rows] == [str(t.params['widen_factor']) for t in whole.trials]
    best = (whole.folder / 'best.py').read_text()
    assert f'lr = {whole.ranked[0].params["optim_wrapper.optimizer.lr"]!r}' in best.replace('lr=', 'lr = ')
    for trial in whole.trials:
        assert (trial.folder / 'best.pth').is_file() and (trial.folder / 'results.csv').is_file()
    assert 'widen_factor' in whole.table(1)


def test_a_finished_study_makes_no_more_trials_and_a_longer_one_does(whole, tiny_data, tmp_path):
    folder = shutil.copytree(whole.folder, tmp_path / whole.folder.name)
    assert told(tune(tiny_data, folder)) == told(whole)
    assert told(tune(tiny_data, folder, 3))[:2] == told(whole)


class _StopAfter(Hook):
    """Ends the process's work as a signal does, when an epoch is complete."""

    priority = 'LOWEST'

    def after_fit_epoch(self, runner, metrics, improved):
        runner.call_hook('before_stop')
        raise TrainingStopped('SIGTERM')


@pytest.mark.thorough
def test_a_stopped_study_goes_on_as_if_it_had_not_been(whole, tiny_data, tmp_path, monkeypatch):
    folder, calls, stop_at = tmp_path / 'study', [], 1

    def stopping(*args, hooks, **kwargs):
        calls.append(args)
        return train_from_config(*args, hooks=[*hooks, *[_StopAfter()] * (len(calls) == stop_at + 1)], **kwargs)

    monkeypatch.setattr(study_module, 'train_from_config', stopping)
    with pytest.raises(TrainingStopped):
        tune(tiny_data, folder)
    assert told(tune(tiny_data, folder)) == told(whole)
    assert len(calls) == 3, 'the trial that was stopped went on, the others were not made again'
    assert len((folder / f'trial_{stop_at:04d}' / 'results.csv').read_text().splitlines()) == 1 + 2


def test_equal_values_are_not_trained_again(tiny_data, tmp_path, monkeypatch):
    calls = []

    def counting(*args, **kwargs):
        calls.append(args)
        return train_from_config(*args, **kwargs)

    monkeypatch.setattr(study_module, 'train_from_config', counting)
    found = tune(tiny_data, tmp_path / 'study', 2, space={'mosaic_prob': [0.5]}, max_epochs=1)
    assert len(calls) == 1 and [trial.state for trial in found.trials] == ['complete'] * 2
    assert found.trials[0].fitness == found.trials[1].fitness and found.trials[1].folder == found.trials[0].folder


@pytest.mark.thorough
def test_a_bad_trial_is_pruned(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(optuna.Trial, 'should_prune', lambda trial: trial.number == 1)
    found = tune(tiny_data, tmp_path / 'study', 2, settings={'pruner': 'median'})
    assert [trial.state for trial in found.trials] == ['complete', 'pruned']
    assert [trial.epochs for trial in found.trials] == [2, 1]
    assert len((found.folder / 'trial_0001' / 'results.csv').read_text().splitlines()) == 1 + 1


def test_failures_are_told_and_three_in_a_row_end_the_study(tiny_data, tmp_path, monkeypatch):
    def failing(*args, **kwargs):
        raise DataError('no images')

    monkeypatch.setattr(study_module, 'train_from_config', failing)
    with pytest.raises(ConfigError, match='3 trials in a row have failed; the last: no images'):
        tune(tiny_data, tmp_path / 'study', 9)
    rows = list(csv.DictReader((tmp_path / 'study' / 'trials.csv').open()))
    assert [(row['state'], row['error']) for row in rows] == [('failed', 'no images')] * 3


@pytest.mark.parametrize(
    ('space', 'sentence'),
    [
        (
            {'optim_wrapper.optimizer.lrr': [1, 2]},
            r"the value 1 of search_space\['optim_wrapper.optimizer.lrr'\]: .*lr",
        ),
        ({'widen_factor': ['a', 1]}, r"the value 'a' of search_space\['widen_factor'\]"),
        ({}, 'has no search_space. Add one'),
    ],
)
def test_a_space_that_the_config_does_not_take_is_refused_before_training(tiny_data, tmp_path, space, sentence):
    with pytest.raises(ConfigError, match=sentence):
        tune(tiny_data, tmp_path / 'study', space=space)
    assert not (tmp_path / 'study').exists()


def test_another_study_in_the_folder_is_refused(whole, tiny_data):
    with pytest.raises(ConfigError, match='was begun with another search space'):
        tune(tiny_data, whole.folder, space={'widen_factor': [0.125, 0.25]})
    with pytest.raises(ConfigError, match='was begun with another config'):
        tune(tiny_data, whole.folder, max_epochs=3)


def test_a_file_is_no_folder_of_a_study(tiny_data, tmp_path):
    (tmp_path / 'a.csv').touch()
    with pytest.raises(ConfigError, match=r'a\.csv is a file'):
        tune(tiny_data, tmp_path / 'a.csv')


@pytest.mark.parametrize(
    'settings', [{'sampler': 'tpee'}, {'pruner': 1}, {'num_trials': 0}, {'num_trials': 'a'}, {'seed': -1}]
)
def test_wrong_settings_are_refused(tiny_data, tmp_path, settings):
    with pytest.raises(ConfigError, match='tuning'):
        tune(tiny_data, tmp_path / 'study', settings=settings)


@pytest.mark.parametrize('text', ['{"op_code": 0', 'x\n', json.dumps({'op_code': 99}) + '\n', '[]\n', '5\n'])
def test_a_damaged_journal_is_a_sentence(tiny_data, tmp_path, text):
    (tmp_path / 'study').mkdir()
    (tmp_path / 'study' / 'study.log').write_text(text + '\n')
    with pytest.raises(ConfigError, match='study.log cannot be opened'):
        tune(tiny_data, tmp_path / 'study')


def _share(data, folder):
    tune(data, folder, 3, max_epochs=1)


@pytest.mark.slow
def test_two_processes_share_a_study(tiny_data, tmp_path):
    context = get_context('spawn')
    workers = [context.Process(target=_share, args=(tiny_data, tmp_path / 'study')) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(240)
    assert [worker.exitcode for worker in workers] == [0, 0]
    found = tune(tiny_data, tmp_path / 'study', 3, max_epochs=1)
    assert [trial.state for trial in found.trials] == ['complete'] * 3
    assert len({tuple(trial.params.values()) for trial in found.trials}) == 3


@pytest.mark.thorough
def test_a_database_holds_a_study_too(tiny_data, tmp_path):
    url = f'sqlite:///{tmp_path}/study.db'
    settings = {'num_trials': 1, 'sampler': 'random'}
    found = tune_config(CONFIG, options(tiny_data, max_epochs=1), SPACE, settings, tmp_path / 'study', url)
    assert [trial.state for trial in found.trials] == ['complete']
    assert not (tmp_path / 'study' / 'study.log').exists()
    with pytest.raises(ConfigError, match='cannot be opened'):
        tune_config(CONFIG, options(tiny_data), SPACE, settings, tmp_path / 'other', 'nosuchdb:///x')
