"""The benchmark that kills runs: it sees each difference, plans the same trials again, and runs on a tiny size."""

import copy
import shutil
import sys
from pathlib import Path

import pytest
import torch
from test_engine.dummy import dummy_config

from detkit.engine import Runner
from detkit.engine.checkpoint import load_checkpoint, save_checkpoint

pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='workers are looked for in /proc')


@pytest.fixture
def benchmark(repo, monkeypatch):
    monkeypatch.syspath_prepend(str(repo / 'benchmarks'))
    import kill_and_resume

    return kill_and_resume


@pytest.fixture(scope='module')
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('runs') / 'run'
    hook = dict(type='CheckpointHook', save_period=3)
    Runner(dummy_config(folder, default_hooks=dict(checkpoint=hook))).train()
    return folder


@pytest.fixture
def trial(benchmark, run, tmp_path):
    """A trial whose run is a copy of the undisturbed one."""
    shutil.copytree(run, tmp_path / 'run_0')
    reference = benchmark.Reference(run, 10.0, '')
    return benchmark.Trial([], tmp_path / 'run_0', reference, benchmark.random.Random(0))


def change_weight(checkpoint: dict) -> None:
    name, tensor = next(iter(checkpoint['state_dict'].items()))
    checkpoint['state_dict'][name] = torch.nextafter(tensor, torch.tensor(torch.inf))


def change_optimiser(checkpoint: dict) -> None:
    checkpoint['optimizer']['optimizer']['param_groups'][0]['lr'] *= 1 + 1e-15


def change_random_state(checkpoint: dict) -> None:
    checkpoint['ranks'][0]['random']['torch'][0] ^= 1


def change_best_score(checkpoint: dict) -> None:
    checkpoint['loop']['best_fitness'] += 1e-9


def test_equal_runs_have_no_difference(benchmark, trial):
    path = trial.folder / 'last.pth'
    checkpoint = load_checkpoint(path)
    checkpoint['meta']['time'], checkpoint['loop']['elapsed'] = 'another', 9e9
    save_checkpoint(checkpoint, path)
    assert benchmark.differences(trial, '') == []


@pytest.mark.parametrize(
    'change, key',
    [
        (change_weight, 'state_dict.'),
        (change_optimiser, 'optimizer.optimizer.param_groups[0].lr'),
        (change_random_state, 'ranks[0].random.torch'),
        (change_best_score, 'loop.best_fitness'),
    ],
)
def test_a_bit_of_a_checkpoint_is_seen(benchmark, trial, change, key):
    path = trial.folder / 'last.pth'
    checkpoint = copy.deepcopy(load_checkpoint(path))
    change(checkpoint)
    save_checkpoint(checkpoint, path)
    (found,) = benchmark.differences(trial, '')
    assert found.startswith(f'last.pth: {key}')


def test_lines_files_and_results_are_compared(benchmark, trial):
    table = trial.folder / 'results.csv'
    table.write_text(table.read_text().replace('\n4,', '\n5,'))
    scalars = trial.folder / 'scalars.json'
    scalars.write_text(''.join(scalars.read_text().splitlines(keepends=True)[:-1]))
    (trial.folder / '.last.pth.tmp').touch()
    (trial.folder / 'epoch_3.pth').unlink()
    trial.folder.with_name('run_0-2').mkdir()
    found = benchmark.differences(trial, 'best     epoch 4, run_0/best.pth\n| all | 0.5 |\n')
    assert [text.split(' ')[0] for text in found] == [
        'epoch_3.pth',
        'the',
        'scalars.json:',
        'results.csv:',
        '.last.pth.tmp',
        'the',
    ]


def test_a_checkpoint_that_had_no_space_may_be_missing_but_not_the_last(benchmark, trial):
    trial.may_fail_to_save = True
    (trial.folder / 'epoch_3.pth').unlink()
    assert benchmark.differences(trial, '') == [] and trial.events == ['epoch_3.pth is lost or older']
    (trial.folder / 'last.pth').unlink()
    assert benchmark.differences(trial, '') == ['last.pth is in one of the runs only']


def test_a_seed_plans_the_same_trials(benchmark):
    plans = benchmark.plan_trials(20, len(benchmark.FAULTS), seed=3)
    first_fault = len(benchmark.RECIPES)  # after the kills of each recipe
    assert sum(len(plan.disturbances) for plan in plans[:first_fault]) == 20
    assert {plan.title for plan in plans[first_fault:]} == set(benchmark.FAULTS)
    assert {plan.recipe for plan in plans[first_fault:]} == set(benchmark.RECIPES)
    again = benchmark.plan_trials(20, len(benchmark.FAULTS), seed=3)
    kills = [[disturb.keywords for disturb in plan.disturbances] for plan in plans[:first_fault]]
    assert kills == [[disturb.keywords for disturb in plan.disturbances] for plan in again[:first_fault]]


@pytest.mark.slow
def test_a_kill_and_a_fault_of_a_run(benchmark, tmp_path, monkeypatch, capsys):
    options = ['--only', 'yolov5', '--kills', '7', '--faults', '7', '--epochs', '2', '--folder', str(tmp_path)]
    monkeypatch.setattr(sys, 'argv', ['kill_and_resume.py', *options])
    with pytest.raises(SystemExit) as caught:
        benchmark.main()
    printed = capsys.readouterr().out
    assert caught.value.code == 0, printed
    assert '2 of 2 disturbed runs ended bit for bit' in printed
