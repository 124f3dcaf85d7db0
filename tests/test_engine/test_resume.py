"""A run killed anywhere and resumed ends with the weights of one that never stopped."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from processes import Child

from detkit.engine import Runner, load_checkpoint
from detkit.utils.errors import CheckpointError

from .dummy import dummy_config


def train(work_dir: Path, **changes) -> dict:
    """Train and return ``last.pth``."""
    runner = Runner(dummy_config(work_dir, **changes))
    runner.train()
    return load_checkpoint(Path(runner.work_dir) / 'last.pth')


def assert_same_end(a: dict, b: dict) -> None:
    for part in ('state_dict', 'model'):
        for name, tensor in a[part].items():
            assert torch.equal(tensor, b[part][name]), f'{part}: {name}'
    states_a, states_b = a['optimizer']['optimizer']['state'], b['optimizer']['optimizer']['state']
    for index, state in states_a.items():
        for name, value in state.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(states_b[index][name]))
    assert torch.equal(a['ranks'][0]['random']['torch'], b['ranks'][0]['random']['torch'])
    assert a['loop']['best_fitness'] == b['loop']['best_fitness']
    assert a['loop']['losses'] == b['loop']['losses']


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the runner handles it."""


def train_until_killed(runner: Runner, hook: str, is_due: Callable[[], bool]) -> None:
    """Train, and die after the hooks of a name where it is due."""
    original = runner.call_hook

    def call_hook(name: str, **kwargs) -> None:
        original(name, **kwargs)
        if name == hook and is_due():
            raise Killed

    runner.call_hook = call_hook
    with pytest.raises(Killed):
        runner.train()


def kill_after(work_dir: Path, iterations: int, **changes) -> None:
    runner = Runner(dummy_config(work_dir, **changes))
    train_until_killed(runner, 'after_fit_iter', lambda: runner.iter == iterations)


@pytest.fixture(scope='module')
def straight(tmp_path_factory) -> dict:
    return train(tmp_path_factory.mktemp('straight') / 'run')


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('iterations', [1, 2, 3, 5, 7, 11])
def test_resume_at_any_iteration(straight, tmp_path, iterations):
    kill_after(tmp_path / 'run', iterations)
    assert_same_end(straight, train(tmp_path / 'run', resume=True))
    assert [p.name for p in tmp_path.iterdir()] == ['run']  # the same folder


@pytest.mark.parametrize('num_workers', [1, 3])
def test_workers_do_not_matter(straight, tmp_path, num_workers):
    workers = dict(train_dataloader={**dummy_config('')['train_dataloader'], 'num_workers': num_workers})
    assert_same_end(straight, train(tmp_path / 'a', **workers))
    kill_after(tmp_path / 'b', 4, **workers)
    assert_same_end(straight, train(tmp_path / 'b', resume=True, **workers))


@pytest.mark.default_cases(1)
@pytest.mark.parametrize(
    'optimizer',
    [
        dict(type='AdamW', lr=1e-2, weight_decay=1e-2),
        dict(type='SGD', lr=0.05, momentum=0.9, fused=False),
        dict(type='MuSGD', lr=0.05, weight_decay=5e-4),
    ],
)
def test_resume_of_other_optimisers(tmp_path, optimizer):
    changes = dict(optim_wrapper=dict(optimizer=optimizer, accumulate=3))
    straight = train(tmp_path / 'a', **changes)
    kill_after(tmp_path / 'b', 4, **changes)
    assert load_checkpoint(tmp_path / 'b' / 'last.pth')['optimizer']['pending'] > 0
    assert_same_end(straight, train(tmp_path / 'b', resume=True, **changes))


def test_resume_with_bf16(tmp_path):
    changes = dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9), accumulate=2, amp='bf16'))
    straight = train(tmp_path / 'a', **changes)
    kill_after(tmp_path / 'b', 7, **changes)
    assert_same_end(straight, train(tmp_path / 'b', resume=True, **changes))


SCRIPT = """
import time
from test_engine.dummy import dummy_config
from detkit.engine import Runner
runner = Runner(dummy_config({work_dir!r}))
original = runner.call_hook
def call_hook(name, **kwargs):
    original(name, **kwargs)
    if name == 'after_fit_iter':
        print('iter', runner.iter, flush=True)
        if runner.iter == 5:
            time.sleep(60)
runner.call_hook = call_hook
runner.train()
"""


@pytest.fixture
def one_thread():
    """Sums depend on the number of threads, so the two processes of a comparison must have the same."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_sigkill(tmp_path, one_thread):
    work_dir = tmp_path / 'run'
    with Child(SCRIPT.format(work_dir=str(work_dir))) as process:
        for line in process.stdout:
            if line.strip() == 'iter 5':
                break
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert_same_end(train(tmp_path / 'other'), train(work_dir, resume=True))


def test_resume_falls_back_to_intact(tmp_path, capsys):
    kill_after(tmp_path / 'run', 11)
    last = tmp_path / 'run' / 'last.pth'
    last.write_bytes(last.read_bytes()[:-200])
    capsys.readouterr()
    resumed = train(tmp_path / 'run', resume=True)
    shown = capsys.readouterr().out
    assert 'last.pth is truncated' in shown and 'falling back to best.pth' in shown
    assert_same_end(train(tmp_path / 'straight'), resumed)


def test_nothing_to_resume(straight, tmp_path, capsys):
    assert_same_end(straight, train(tmp_path / 'run', resume=True))
    assert 'nothing to resume' in capsys.readouterr().out


@pytest.mark.parametrize('point, count', [('before_train_iter', 1), ('after_fit_epoch', 1), ('before_train_epoch', 2)])
def test_the_first_checkpoint_comes_early(straight, tmp_path, point, count):
    """The repeated command ends in its folder, wherever in the first epochs it was killed."""
    seldom = dict(default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=3)))
    runner = Runner(dummy_config(tmp_path / 'run', resume=True, **seldom))
    original, calls = runner.call_hook, []

    def call_hook(name: str, **kwargs) -> None:
        if name == point:
            calls.append(name)
        if len(calls) == count:
            raise Killed
        original(name, **kwargs)

    runner.call_hook = call_hook
    with pytest.raises(Killed):
        runner.train()
    assert (tmp_path / 'run' / 'last.pth').exists() == (point == 'before_train_epoch')
    assert_same_end(straight, train(tmp_path / 'run', resume=True, **seldom))
    assert [p.name for p in tmp_path.iterdir()] == ['run']


def test_a_checkpoint_that_is_not_there(tmp_path):
    with pytest.raises(CheckpointError, match='there is no checkpoint .*last.pth to resume'):
        train(tmp_path / 'run', resume=str(tmp_path / 'last.pth'))
    assert not list(tmp_path.iterdir())


def test_longer_run_spans_the_schedule_anew(tmp_path):
    train(tmp_path / 'run')
    longer = Runner(dummy_config(tmp_path / 'run', resume=True, train_cfg=dict(max_epochs=8, val_interval=2)))
    longer.train()
    assert longer.epoch == 8
    assert longer.learning_rates()['weight'] == pytest.approx(0.05 * (1 - 7 / 8 * 0.99))


def test_resume_from_a_path(straight, tmp_path):
    kill_after(tmp_path / 'a', 4)
    resumed = Runner(dummy_config(tmp_path / 'b', resume=str(tmp_path / 'a' / 'last.pth')))
    resumed.train()
    assert Path(resumed.work_dir) == tmp_path / 'b'
    assert_same_end(straight, load_checkpoint(tmp_path / 'b' / 'last.pth'))
    with pytest.raises(CheckpointError, match='weights only.*load_from'):
        Runner(dummy_config(tmp_path / 'c', resume=str(tmp_path / 'b' / 'best.pth'))).train()


def test_resume_refuses_what_differs(tmp_path):
    kill_after(tmp_path / 'run', 4)
    path = str(tmp_path / 'run' / 'last.pth')
    adam = dict(optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.01)))
    with pytest.raises(CheckpointError, match='trained with SGD'):
        Runner(dummy_config(tmp_path / 'b', resume=path, **adam)).train()
    with pytest.raises(CheckpointError, match='another model'):
        Runner(dummy_config(tmp_path / 'c', resume=path, model=dict(width=4))).train()
    with pytest.raises(CheckpointError, match='an epoch has 2'):
        loader = {**dummy_config('')['train_dataloader'], 'batch_size': 6}
        Runner(dummy_config(tmp_path / 'd', resume=path, train_dataloader=loader)).train()


def test_the_optimisers_state_follows_the_parameters_into_other_groups(straight, tmp_path, capsys):
    kill_after(tmp_path / 'run', 4)
    split = dict(paramwise_cfg=dict(lr_mult={'cls_head': 1.0, 'backbone.0': 1.0}))  # other groups, the same rates
    resumed = train(tmp_path / 'run', resume=True, optim_wrapper=split)
    for name, tensor in straight['model'].items():
        assert torch.equal(tensor, resumed['model'][name]), name
    assert resumed['optimizer']['parameters'] != straight['optimizer']['parameters']

    kill_after(tmp_path / 'part', 4, train_cfg=dict(max_epochs=4, val_interval=2, freeze=['backbone']))
    assert len(train(tmp_path / 'part', resume=True)['optimizer']['parameters']) == 5
    assert 'without a state of the optimiser: 3, such as backbone.0.weight' in capsys.readouterr().out


def test_a_state_that_does_not_belong_to_its_parameter_is_refused(straight, tmp_path):
    """Fused kernels would read and write beyond a state that is too small."""
    kill_after(tmp_path / 'run', 4)
    path = tmp_path / 'run' / 'last.pth'
    saved = load_checkpoint(path)
    saved['optimizer']['optimizer']['state'][0]['momentum_buffer'] = torch.zeros(2)
    torch.save(saved, tmp_path / 'forged.pth')
    with pytest.raises(CheckpointError, match=r"state 'momentum_buffer' of .* has the shape \(2,\), not"):
        Runner(dummy_config(tmp_path / 'b', resume=str(tmp_path / 'forged.pth'))).train()

    former = load_checkpoint(path)
    del former['optimizer']['parameters']  # as former versions wrote it
    torch.save(former, path)
    split = dict(paramwise_cfg=dict(lr_mult={'backbone': 1.0}))
    with pytest.raises(CheckpointError, match='other groups of the optimiser.*paramwise_cfg and train_cfg.freeze'):
        Runner(dummy_config(tmp_path / 'run', resume=True, optim_wrapper=split)).train()
    assert_same_end(straight, train(tmp_path / 'run', resume=True))


def test_logs_read_as_if_never_stopped(straight, tmp_path):
    every = dict(train_cfg=dict(max_epochs=4, val_interval=2, log_interval=1))
    train(tmp_path / 'a', **every)
    kill_after(tmp_path / 'b', 8, **every)
    with open(tmp_path / 'b' / 'scalars.json', 'a') as file:
        file.write('{"iter": 9, "half')
    train(tmp_path / 'b', resume=True, **every)

    def figures(name: str) -> tuple[list, list]:
        rows = [json.loads(line) for line in (tmp_path / name / 'scalars.json').read_text().splitlines()]
        table = [line.split(',') for line in (tmp_path / name / 'results.csv').read_text().splitlines()]
        return [{k: v for k, v in row.items() if k != 'time'} for row in rows], [row[:1] + row[2:] for row in table]

    assert figures('a') == figures('b')


def test_validation_leaves_no_trace(straight, tmp_path):
    often = train(tmp_path / 'run', train_cfg=dict(max_epochs=4, val_interval=1))
    for name, tensor in straight['model'].items():
        assert torch.equal(tensor, often['model'][name])
