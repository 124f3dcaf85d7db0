"""Two processes on a CPU: the same batches, gradients and figures as one, and exact resume."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from detkit.engine import Runner, load_checkpoint

from .dummy import dummy_config


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """The folder of the runs of ``distributed_script``."""
    folder = tmp_path_factory.mktemp('distributed')
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    script = str(Path(__file__).with_name('distributed_script.py'))
    processes = []
    for rank in range(2):
        environ = {
            **os.environ,
            'RANK': str(rank),
            'LOCAL_RANK': str(rank),
            'WORLD_SIZE': '2',
            'OMP_NUM_THREADS': '1',
            'MASTER_ADDR': '127.0.0.1',
            'MASTER_PORT': str(port),
        }
        processes.append(
            subprocess.Popen(
                [sys.executable, script, str(folder)],
                env=environ,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        )
    outputs = [process.communicate(timeout=200)[0] for process in processes]
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output
    (folder / 'out0.txt').write_text(outputs[0])
    (folder / 'out1.txt').write_text(outputs[1])
    return folder


def report(folder: Path, name: str, rank: int) -> dict:
    return json.loads((folder / f'{name}_{rank}.json').read_text())


def test_processes_share_out_the_batches_of_one(folder, tmp_path):
    runner = Runner(dummy_config(tmp_path / 'run'))
    read, call_hook = [], runner.call_hook

    def watch(name: str, **kwargs) -> None:
        if name == 'before_train_iter':
            read.append([list(key) for key in kwargs['data_batch']['keys']])
        call_hook(name, **kwargs)

    runner.call_hook = watch
    runner.train()
    first, second = (report(folder, 'straight', rank)['read'] for rank in range(2))
    assert [a + b for a, b in zip(first, second, strict=True)] == read


def test_gradients_are_those_of_one_process(folder, tmp_path):
    alone = Runner(
        dummy_config(
            tmp_path / 'run', model=dict(dropout=0.0), train_cfg=dict(max_epochs=4, val_interval=2, freeze=['backbone'])
        )
    )
    alone.train()
    a, b = (load_checkpoint(where / 'last.pth')['model'] for where in (tmp_path / 'run', folder / 'plain'))
    for name, tensor in a.items():
        torch.testing.assert_close(tensor, b[name], rtol=1e-5, atol=1e-6)


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
    assert first == second and len(first) == 3
    assert all(metrics['coco/count'] == 6 for metrics in first)


def test_only_the_first_process_speaks(folder):
    assert (folder / 'out0.txt').read_text().count('device   cpu') == 4
    assert (folder / 'out1.txt').read_text().replace('killed', '').strip() == ''
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {'straight', 'stopped', 'plain'}


def test_another_number_of_processes_says_what_starts_anew(folder, tmp_path, capsys):
    Runner(
        dummy_config(
            tmp_path / 'run', resume=str(folder / 'straight' / 'last.pth'), train_cfg=dict(max_epochs=5, val_interval=2)
        )
    ).train()
    assert '2 processes wrote' in capsys.readouterr().out
