"""Several processes on a CPU: the same batches, losses, gradients and results as one, and exact resume."""

import csv
import json
from pathlib import Path

import pytest
import torch
from processes import free_ports, run_ranks

from detkit.engine import Runner, load_checkpoint
from detkit.utils.errors import CheckpointError

from .dummy import dummy_config
from .rank_families import FAMILIES, families_of

pytestmark = pytest.mark.no_cover

RUNS = ('straight', 'stopped', 'cut', 'plain', 'synced', 'skipped', 'too_many', 'not_finite')


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """The folder of what the three processes of ``distributed_script`` made."""
    folder = tmp_path_factory.mktemp('distributed')
    ports = free_ports(3)
    script = 'from test_engine.distributed_script import main\nmain()'
    outputs = run_ranks(script, 3, lambda rank: [str(folder), str(rank), *ports])
    for rank, output in enumerate(outputs):
        (folder / f'out{rank}.txt').write_text(output)
    return folder


def report(folder: Path, name: str, rank: int) -> dict:
    return json.loads((folder / f'{name}_{rank}.json').read_text())


def keys_trained_on(runner: Runner) -> list[list[list]]:
    """Train, and return the keys of the samples of each batch."""
    read, call_hook = [], runner.call_hook

    def watch(name: str, **kwargs) -> None:
        if name == 'before_train_iter':
            read.append([list(key) for key in kwargs['data_batch']['keys']])
        call_hook(name, **kwargs)

    runner.call_hook = watch
    runner.train()
    return read


@pytest.mark.thorough
def test_processes_share_out_the_batches_of_one(folder, tmp_path):
    runner = Runner(dummy_config(tmp_path / 'run'))
    read = keys_trained_on(runner)
    first, second = (report(folder, 'straight', rank)['read'] for rank in range(2))
    assert [a + b for a, b in zip(first, second, strict=True)] == read


@pytest.mark.parametrize(
    ('name', 'changes'),
    [
        ('plain', dict(train_cfg=dict(max_epochs=4, val_interval=2, freeze=['backbone']))),
        ('synced', dict(sync_bn=True)),
    ],
)
def test_a_run_is_that_of_one_process(folder, tmp_path, name, changes):
    Runner(dummy_config(tmp_path / 'run', model=dict(dropout=0.0), **changes)).train()
    a, b = (load_checkpoint(where / 'last.pth')['model'] for where in (tmp_path / 'run', folder / name))
    for tensor_name, tensor in a.items():
        torch.testing.assert_close(tensor, b[tensor_name], rtol=1e-5, atol=1e-6)
    alone, shared = (read_losses(where) for where in (tmp_path / 'run', folder / name))
    torch.testing.assert_close(alone, shared, rtol=1e-4, atol=0)  # the file has five digits


def read_losses(folder: Path) -> torch.Tensor:
    with open(folder / 'results.csv', newline='') as file:
        return torch.tensor(
            [[float(row[f'train/{name}']) for name in ('cls', 'extra')] for row in csv.DictReader(file)]
        )


@pytest.mark.parametrize('name, ranks', [(name, ranks) for ranks in (2, 3) for name in families_of(ranks)])
def test_a_step_is_that_of_one_process(folder, name, ranks):
    """Losses, gradients and what the step makes of weights and statistics, with one process that has no object."""
    found = json.loads((folder / f'families_{ranks}.json').read_text())[name]
    assert found.keys() == {'losses', 'gradients', 'state'}
    # DETR counts its objects in float32, and top-1 is a float32 number.
    tolerance = 1e-7 if FAMILIES[name].reduction == 'mean' else 1e-11
    assert max(found.values()) < tolerance, found


@pytest.mark.parametrize('ranks', [2, 3])
def test_divisors_are_summed_before_they_are_bounded(folder, ranks):
    total = ranks * (ranks + 1) / 2
    for rank in range(ranks):
        found = json.loads((folder / f'divisors_{ranks}_{rank}.json').read_text())
        assert found['alone'] == [1, rank + 1, 1]  # outside a common step nothing waits for the others
        bounded = [max(value, 1) / ranks for value in (total, 0.1 * total, 0, total)]
        assert found['together'] == [ranks, *(pytest.approx(value) for value in bounded)]


def test_resume_is_exact(folder):
    straight, resumed = (load_checkpoint(folder / name / 'last.pth') for name in ('straight', 'stopped'))
    assert len(straight['ranks']) == 2
    for part in ('model', 'state_dict'):
        for name, tensor in straight[part].items():
            assert torch.equal(tensor, resumed[part][name]), name
    for a, b in zip(straight['ranks'], resumed['ranks'], strict=True):
        assert torch.equal(a['random']['torch'], b['random']['torch'])


def test_validation_is_shared_and_collected(folder):
    first, second = (report(folder, 'straight', rank)['found'] for rank in range(2))
    assert first == second and len(first) == 2  # that of the last epoch is the best, and is not repeated
    assert all(metrics['coco/count'] == 6 for metrics in first)


def test_what_any_process_skips_is_listed_once(folder):
    lines = (folder / 'skipped' / 'skipped.csv').read_text().splitlines()
    assert lines == ['split,path,line,reason,count', 'train,a.jpg,,truncated,1']
    assert (folder / 'out0.txt').read_text().count('skipped  a.jpg: truncated') == 2  # of this run and of the next


def test_what_all_processes_skip_counts_together(folder):
    errors = {report(folder, 'too_many', rank)['error'] for rank in range(2)}
    assert len(errors) == 1 and '3 of 12 training images cannot be read' in errors.pop()
    assert len((folder / 'too_many' / 'skipped.csv').read_text().splitlines()) == 4


def test_a_loss_that_is_no_number_ends_every_process(folder):
    first, second = (report(folder, 'not_finite', rank) for rank in range(2))
    assert 'iteration 1: loss_cls' in first['error'] and first['error'] == second['error']
    images = [key[3] for rank in (first, second) for key in rank['read'][0]]
    assert ', '.join(f'{index}.jpg' for index in images) in first['error']  # of both


def test_only_the_first_process_speaks(folder):
    assert (folder / 'out0.txt').read_text().count('device   cpu') == len(RUNS) + 1
    assert (folder / 'out1.txt').read_text().replace('killed', '').strip() == ''
    assert (folder / 'out2.txt').read_text().strip() == ''
    assert {path.name for path in folder.iterdir() if path.is_dir()} == set(RUNS)


def test_another_number_of_processes_says_what_starts_anew(folder, tmp_path, capsys):
    Runner(
        dummy_config(
            tmp_path / 'run', resume=str(folder / 'straight' / 'last.pth'), train_cfg=dict(max_epochs=5, val_interval=2)
        )
    ).train()
    assert '2 processes wrote' in capsys.readouterr().out


def test_another_number_of_processes_goes_on_within_an_epoch(folder, tmp_path, capsys):
    """Two processes had read the first 4 of 12 images of the second epoch."""
    loader = {**dummy_config('')['train_dataloader'], 'batch_size': 2}
    runner = Runner(dummy_config(tmp_path / 'run', resume=str(folder / 'cut' / 'last.pth'), train_dataloader=loader))
    read = keys_trained_on(runner)
    assert 'epoch 2, iteration 3' in capsys.readouterr().out
    whole = [key for rank in (0, 1) for keys in report(folder, 'straight', rank)['read'] for key in keys]
    assert sorted(key for keys in read for key in keys) == sorted(key for key in whole if key[1:3] >= [1, 4])


def test_other_data_within_an_epoch_are_refused(folder, tmp_path):
    loader = {**dummy_config('')['train_dataloader'], 'dataset': dict(type='DummyDataset', size=20)}
    runner = Runner(dummy_config(tmp_path / 'run', resume=str(folder / 'cut' / 'last.pth'), train_dataloader=loader))
    with pytest.raises(CheckpointError, match='an epoch of 3 iterations of 4 images, but an epoch has 5 of 4 now'):
        runner.train()
