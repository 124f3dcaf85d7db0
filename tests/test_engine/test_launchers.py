"""torchrun and Slurm's variables, with the commands of docs/distributed.md, as far as one machine can try them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from processes import free_ports

from detkit.engine import load_checkpoint

from .dummy import dummy_config

pytestmark = pytest.mark.slow

TORCHRUN = (sys.executable, '-m', 'torch.distributed.run')


@pytest.fixture
def config(tmp_path) -> Path:
    return write_config(tmp_path)


def write_config(folder: Path, **hook) -> Path:
    """Write a config of the dummy model, with a batch of 2 a process; ``hook`` are arguments of ``SignalOnceHook``."""
    loader = {**dummy_config('')['train_dataloader'], 'batch_size': 2}
    hooks = [dict(type='SignalOnceHook', marks=str(folder), **hook)] if hook else []
    cfg = dummy_config('', train_dataloader=loader, custom_hooks=hooks)
    cfg['custom_imports'] = dict(imports=['test_engine.launched_parts'])
    del cfg['work_dir']
    path = folder / 'launched.py'
    path.write_text(''.join(f'{key} = {value!r}\n' for key, value in cfg.items()))
    return path


def start(command: Sequence[str | Path], **variables: str) -> subprocess.Popen:
    """Start a command in a process group of its own."""
    root = Path(__file__).parents[2]
    paths = [str(root), str(root / 'tests'), os.environ.get('PYTHONPATH', '')]
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': os.pathsep.join(paths), **variables}
    return subprocess.Popen(
        [str(part) for part in command],
        env=environment,
        cwd=root,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def end(*processes: subprocess.Popen, status: int = 0) -> list[str]:
    """Return what the commands printed; all must end with ``status``."""
    try:
        outputs = [process.communicate(timeout=240)[0] for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert [process.returncode for process in processes] == [status] * len(processes), '\n'.join(outputs)
    return outputs


def training(config: Path, run: Path, launcher: str = 'pytorch') -> list[str | Path]:
    return ['tools/train.py', config, '--launcher', launcher, '--work-dir', run, '--resume']


def standalone(ranks: int, *options: str) -> list[str]:
    return [*TORCHRUN, '--standalone', f'--nproc_per_node={ranks}', *options]


def assert_same_weights(a: Path, b: Path) -> None:
    first, second = (load_checkpoint(run / 'last.pth') for run in (a, b))
    assert first['loop']['epoch'] == second['loop']['epoch'] == 4
    for part in ('model', 'state_dict'):
        for name, tensor in first[part].items():
            assert torch.equal(tensor, second[part][name]), name


def test_a_killed_process_is_started_again(tmp_path, config):
    """One of two is killed in the fifth iteration; torchrun restarts both, and the end is the same."""
    end(start([*standalone(2), *training(config, tmp_path / 'straight')]))
    killed = write_config(tmp_path, number=int(signal.SIGKILL), iteration=5, ranks=[1])
    (output,) = end(start([*standalone(2, '--max-restarts=2'), *training(killed, tmp_path / 'killed')]))
    assert (tmp_path / 'signalled_1').exists() and 'resume   ' in output
    assert_same_weights(tmp_path / 'straight', tmp_path / 'killed')


def test_another_number_of_processes_goes_on(tmp_path):
    """Two processes are stopped within an epoch, three go on; the number of images of a step changes with it."""
    stopped = write_config(tmp_path, number=int(signal.SIGUSR1), iteration=4, ranks=[0, 1])
    process = start([*standalone(2), *training(stopped, tmp_path / 'run')])
    assert 'stopped  by SIGUSR1' in process.communicate(timeout=240)[0]
    assert len(load_checkpoint(tmp_path / 'run' / 'last.pth')['ranks']) == 2
    (output,) = end(start([*standalone(3), *training(stopped, tmp_path / 'run')]))
    assert '2 processes wrote' in output
    last = load_checkpoint(tmp_path / 'run' / 'last.pth')
    assert len(last['ranks']) == 3 and last['loop']['epoch'] == 4 and last['loop']['batch_size'] == 6


@pytest.mark.parametrize('script', [True, False])
def test_two_nodes_on_loopback(tmp_path, config, script):
    """Two commands make one run of two processes, the same as that of one node."""
    (port,) = free_ports()
    if script:
        arguments = training(config, tmp_path / 'run')[3:]
        options = [part for part in arguments if part != 'pytorch']
        nodes = [
            start(
                ['bash', 'tools/dist_train.sh', config, '1', *options],
                NNODES='2',
                NODE_RANK=str(rank),
                MASTER_ADDR='127.0.0.1',
                PORT=port,
                PYTHON=sys.executable,
            )
            for rank in range(2)
        ]
    else:
        rendezvous = ['--rdzv-backend=c10d', '--rdzv-id=a', f'--rdzv-endpoint=127.0.0.1:{port}']
        command = [*TORCHRUN, '--nnodes=2', '--nproc_per_node=1', '--max-restarts=1', *rendezvous]
        nodes = [start([*command, *training(config, tmp_path / 'run')]) for _ in range(2)]
    outputs = end(*nodes)
    assert sum('finished  4 epochs' in output or '4 epochs in' in output for output in outputs) == 1
    assert len(load_checkpoint(tmp_path / 'run' / 'last.pth')['ranks']) == 2
    end(start([*standalone(2), *training(config, tmp_path / 'one_node')]))
    assert_same_weights(tmp_path / 'one_node', tmp_path / 'run')


def slurm(config: Path, run: Path, rank: int, port: str) -> subprocess.Popen:
    variables = dict(SLURM_PROCID=str(rank), SLURM_LOCALID=str(rank), SLURM_NTASKS='2', SLURM_NODELIST='localhost')
    return start(
        [sys.executable, *training(config, run, 'slurm')], **variables, MASTER_ADDR='127.0.0.1', MASTER_PORT=port
    )


def test_slurm_warns_and_the_job_is_requeued(tmp_path, config):
    """SIGUSR1 to both processes ends them with status 75; the same command goes on to the end of an undisturbed run."""
    end(start([*standalone(2), *training(config, tmp_path / 'straight')]))
    warned = write_config(tmp_path, number=int(signal.SIGUSR1), iteration=5, ranks=[0, 1])
    for status in (75, 0):
        (port,) = free_ports()
        end(*(slurm(warned, tmp_path / 'run', rank, port) for rank in range(2)), status=status)
    assert_same_weights(tmp_path / 'straight', tmp_path / 'run')


def test_a_lost_node_leaves_the_others_going_on(tmp_path):
    """Of two nodes one is killed, torchrun and all, in the fifth iteration; the other goes on alone."""
    config = write_config(tmp_path, number=int(signal.SIGKILL), iteration=5, ranks=None)
    (port,) = free_ports()
    rendezvous = ['--rdzv-backend=c10d', '--rdzv-id=a', f'--rdzv-endpoint=127.0.0.1:{port}']
    command = [*TORCHRUN, '--nnodes=1:2', '--nproc_per_node=1', '--max-restarts=3', *rendezvous]
    first = start([*command, *training(config, tmp_path / 'run')])
    while socket.socket().connect_ex(('127.0.0.1', int(port))):  # the first keeps the rendezvous, and must be left
        assert first.poll() is None
        time.sleep(0.1)
    second = start([*command, *training(config, tmp_path / 'run')], LOST_NODE='1')
    end(first)
    second.communicate(timeout=60)
    last = load_checkpoint(tmp_path / 'run' / 'last.pth')
    assert len(last['ranks']) == 1 and last['loop']['epoch'] == 4 and list(tmp_path.glob('signalled_*'))
