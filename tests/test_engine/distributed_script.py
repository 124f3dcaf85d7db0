"""What each of two processes runs for ``test_distributed``: several runs in one process group."""

import json
import os
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from mmengine.dist import get_rank  # noqa: E402

from detkit.engine import Runner  # noqa: E402
from test_engine.dummy import dummy_config  # noqa: E402


class Killed(BaseException):
    pass


def run(work_dir: Path, stop_after: int | None = None, **changes) -> Runner:
    """Train with a batch of 2 a process, and write down the keys of what was read and the metrics."""
    loader = {**dummy_config('')['train_dataloader'], 'batch_size': 2}
    runner = Runner(dummy_config(work_dir, launcher='pytorch', train_dataloader=loader, **changes))
    call_hook, read, found = runner.call_hook, [], []

    def watch(name: str, **kwargs) -> None:
        if name == 'before_train_iter':
            read.append(kwargs['data_batch']['keys'])
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
    Path(f'{work_dir}_{get_rank()}.json').write_text(json.dumps({'read': read, 'found': found}))
    return runner


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    run(folder / 'straight')
    run(folder / 'stopped', stop_after=4)
    run(folder / 'stopped', resume=True)
    # Without what depends on the rest of a batch (normalisation) or on the process (dropout).
    run(folder / 'plain', model=dict(dropout=0.0), train_cfg=dict(max_epochs=4, val_interval=2, freeze=['backbone']))
    torch.distributed.destroy_process_group()
    # All is written. The interpreter's own end may abort where a thread of gloo is still at work, on a busy machine.
    sys.stdout.flush()
    os._exit(0)


if __name__ == '__main__':
    main()
