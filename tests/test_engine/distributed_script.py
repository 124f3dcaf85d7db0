"""What each of three processes runs for ``test_distributed``: runs and steps in groups of two and of three."""

import json
import os
import sys
from pathlib import Path

import torch
from mmengine.dist import get_rank
from torch import distributed

from detkit.datasets.skips import Skip
from detkit.engine import Runner
from detkit.utils.errors import DetkitError
from detkit.utils.ranks import common_step, num_ranks, shared_divisor

from .dummy import dummy_config
from .rank_families import FAMILIES, differences, families_of, train


class Killed(BaseException):
    pass


def run(work_dir: Path, stop_after: int | None = None, bad: dict[int, str] | None = None, **changes) -> Runner:
    """Train with a batch of 2 a process, and write down the keys of what was read, the metrics, and an error.

    Args:
        bad: for some iterations, the image that this process skips there.
    """
    loader = {**dummy_config('')['train_dataloader'], 'batch_size': 2, **changes.pop('loader', {})}
    runner = Runner(dummy_config(work_dir, launcher='pytorch', train_dataloader=loader, **changes))
    call_hook, read, found, error = runner.call_hook, [], [], ''

    def watch(name: str, **kwargs) -> None:
        if name == 'before_train_iter':
            read.append(kwargs['data_batch']['keys'])
        if name == 'after_train_iter' and runner.iter in (bad or {}):
            kwargs['data_batch']['skipped'] = [Skip(bad[runner.iter], None, 'truncated')]
        if name == 'after_val_epoch':
            found.append(kwargs['metrics'])
        call_hook(name, **kwargs)
        if name == 'after_fit_iter' and runner.iter == stop_after:
            raise Killed

    runner.call_hook = watch
    try:
        runner.train()
    except Killed:
        print('killed')
    except DetkitError as failure:
        error = str(failure)
    Path(f'{work_dir}_{get_rank()}.json').write_text(json.dumps({'read': read, 'found': found, 'error': error}))
    return runner


def join(rank: int, ranks: int, port: str) -> None:
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(ranks), MASTER_PORT=port)
    distributed.init_process_group('gloo')


def runs_of_two(folder: Path, rank: int) -> None:
    run(folder / 'straight')
    run(folder / 'stopped', stop_after=4)
    run(folder / 'stopped', resume=True)
    run(folder / 'cut', stop_after=4)
    # Without what depends on the rest of a batch (normalisation) or on the process (dropout).
    plain = dict(dropout=0.0)
    run(folder / 'plain', model=plain, train_cfg=dict(max_epochs=4, val_interval=2, freeze=['backbone']))
    run(folder / 'synced', model=plain, sync_bn=True)
    # The second process alone skips images, the first twice.
    run(folder / 'skipped', bad={0: 'a.jpg', 4: 'a.jpg'} if rank else {})
    limit = dict(skipped=dict(type='SkippedHook', max_skipped=0.1))
    run(folder / 'too_many', bad={0: 'a.jpg', 1: 'b.jpg'} if rank else {2: 'c.jpg'}, default_hooks=limit)
    run(folder / 'not_finite', loader=dict(dataset=dict(type='DummyDataset', bad_position=3)))


def compare(folder: Path, expected: dict, ranks: int) -> None:
    """Write how far the steps of several processes are from those of one, see ``rank_families``."""
    found = {name: train(name) for name in families_of(ranks)}
    if expected:
        result = {name: differences(found[name], expected[name]) for name in found}
        (folder / f'families_{ranks}.json').write_text(json.dumps(result))
    like, own = torch.zeros((), dtype=torch.float64), get_rank() + 1
    alone = [num_ranks(), float(shared_divisor(torch.tensor(own), like)), shared_divisor(0, like)]
    with common_step():
        totals = torch.tensor(own), torch.tensor(0.1 * own), 0, own
        together = [num_ranks(), *(float(shared_divisor(total, like)) for total in totals)]
    (folder / f'divisors_{ranks}_{get_rank()}.json').write_text(json.dumps({'alone': alone, 'together': together}))


def main() -> None:
    torch.set_num_threads(1)
    folder, rank, ports = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    if rank < 2:
        join(rank, 2, ports[0])
        runs_of_two(folder, rank)
        distributed.destroy_process_group()
    # One process for itself, before it belongs to a group.
    expected = {name: train(name) for name in FAMILIES} if rank == 0 else {}
    for ranks, port in ((2, ports[1]), (3, ports[2])):
        if rank < ranks:
            join(rank, ranks, port)
            compare(folder, expected, ranks)
            distributed.destroy_process_group()
    # All is written. The interpreter's own end may abort where a thread of gloo is still at work, on a busy machine.
    sys.stdout.flush()
    os._exit(0)
