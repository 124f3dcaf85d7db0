"""Checkpoint files: plain, written whole, and errors that say what to do."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from detkit.engine import Runner
from detkit.engine import checkpoint as module
from detkit.engine.checkpoint import Resumable, find_resumable, load_checkpoint, refuse_nan, save_checkpoint
from detkit.engine.hooks import Hook
from detkit.utils.errors import CheckpointError, ComponentError

from .dummy import dummy_config


def a_checkpoint(epoch: int = 1, **more) -> dict:
    meta = {'format': 'detkit', 'format_version': 1, 'epoch': epoch, 'iter': epoch * 10, 'classes': ['a']}
    return {'meta': meta, 'state_dict': {'w': torch.arange(1000.0)}, **more}


def test_round_trip(tmp_path):
    path = tmp_path / 'a.pth'
    save_checkpoint(a_checkpoint(loop={'epoch': 1}, state=(3, (1, 2), None)), path)
    loaded = load_checkpoint(path)
    assert torch.equal(loaded['state_dict']['w'], torch.arange(1000.0))
    assert loaded['state'] == (3, (1, 2), None)
    assert os.listdir(tmp_path) == ['a.pth']


@pytest.mark.parametrize(
    'value',
    [
        np.float64(1),
        np.zeros(2),
        object(),
        {1, 2},
        [np.int64(1)],
        {'a': [{'b': len}]},
        torch.nn.Parameter(torch.zeros(1)),
    ],
)
def test_only_plain_things_are_saved(tmp_path, value):
    with pytest.raises(TypeError, match=r"checkpoint\['thing'\].*plain types"):
        save_checkpoint(a_checkpoint(thing=value), tmp_path / 'a.pth')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('mmap', [False, True])
def test_a_file_is_read_by_its_content_whatever_its_name_ends_with(tmp_path, mmap):
    save_checkpoint({'meta': {'format': 'detkit', 'format_version': 1}, 'state_dict': {}}, tmp_path / 'a.pth')
    (tmp_path / 'a.pth').rename(tmp_path / 'a.safetensors')
    assert load_checkpoint(tmp_path / 'a.safetensors', mmap)['state_dict'] == {}


def test_a_run_folder_stands_for_its_best_checkpoint(tmp_path):
    save_checkpoint(a_checkpoint(2), tmp_path / 'last.pth')
    assert load_checkpoint(tmp_path)['meta'] == load_checkpoint(tmp_path / 'last.pth')['meta']
    save_checkpoint(a_checkpoint(1), tmp_path / 'best.pth')
    assert load_checkpoint(tmp_path)['meta'] == load_checkpoint(tmp_path / 'best.pth')['meta']
    assert load_checkpoint(tmp_path)['meta'] != load_checkpoint(tmp_path / 'last.pth')['meta']


def test_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'a.pth'
    save_checkpoint(a_checkpoint(1), path)

    def half(checkpoint, file):
        file.write(b'half')
        raise KeyboardInterrupt

    monkeypatch.setattr(module.torch, 'save', half)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(a_checkpoint(2), path)
    assert load_checkpoint(path)['meta']['epoch'] == 1


@pytest.mark.parametrize('keep', [0, 10, 0.5, 0.99])
def test_truncated(tmp_path, keep):
    path = tmp_path / 'cut.pth'
    save_checkpoint(a_checkpoint(), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(CheckpointError, match=r'cut\.pth is truncated.*best\.pth'):
        load_checkpoint(path)


def test_damaged_inside(tmp_path):
    path = tmp_path / 'bits.pth'
    save_checkpoint(a_checkpoint(), path)
    data = bytearray(path.read_bytes())
    where = data.find(torch.arange(1000.0).numpy().tobytes()[:400]) + 2000
    data[where : where + 50] = bytes(50)
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match='damaged'):
        load_checkpoint(path)


def test_foreign(tmp_path):
    class Thing:
        pass

    Thing.__module__, Thing.__qualname__ = 'somewhere', 'Thing'
    path = tmp_path / 'foreign.pth'
    torch.save({'model': {'w': torch.zeros(1)}}, path)
    with pytest.raises(CheckpointError, match='not written by detkit'):
        load_checkpoint(path)
    torch.save({'when': np.random.default_rng(0).bit_generator.state, 'f': os.getcwd}, path)
    with pytest.raises(CheckpointError, match='foreign'):
        load_checkpoint(path)
    path.write_bytes(pickle.dumps({'a': 1}))
    with pytest.raises(CheckpointError, match='truncated or is no checkpoint'):
        load_checkpoint(path)
    with pytest.raises(CheckpointError, match='does not exist'):
        load_checkpoint(tmp_path / 'none.pth')
    with pytest.raises(CheckpointError, match='is a folder without best.pth or last.pth'):
        load_checkpoint(tmp_path)
    newer = a_checkpoint()
    newer['meta']['format_version'] = 99
    save_checkpoint(newer, path)
    with pytest.raises(CheckpointError, match='update detkit'):
        load_checkpoint(path)


def test_find_resumable_takes_the_furthest_intact(tmp_path):
    assert find_resumable(tmp_path) == Resumable(None, None, {}, [])
    save_checkpoint(a_checkpoint(3, loop={}), tmp_path / 'best.pth')
    save_checkpoint(a_checkpoint(2, loop={}), tmp_path / 'epoch_2.pth')
    save_checkpoint(a_checkpoint(9), tmp_path / 'weights.pth')
    (tmp_path / 'last.pth').write_bytes(b'PK')
    found = find_resumable(tmp_path)
    assert (found.checkpoint['meta']['epoch'], found.path.name) == (3, 'best.pth')
    assert [path.name for path in found.damaged] == ['last.pth'] and 'truncated' in found.damaged[tmp_path / 'last.pth']
    assert [path.name for path in found.weights] == ['weights.pth']


def test_the_furthest_is_that_of_the_epoch_whatever_its_length(tmp_path):
    save_checkpoint(
        {**a_checkpoint(5, loop={'batch': 0}), 'meta': {**a_checkpoint(5)['meta'], 'iter': 1000}}, tmp_path / 'best.pth'
    )
    save_checkpoint(
        {**a_checkpoint(5, loop={'batch': 50}), 'meta': {**a_checkpoint(5)['meta'], 'iter': 550}}, tmp_path / 'last.pth'
    )
    assert find_resumable(tmp_path).path.name == 'last.pth'


def test_checkpoints_whose_names_state_earlier_epochs_are_not_read(tmp_path, monkeypatch):
    names = {f'epoch_{epoch}.pth': epoch for epoch in range(1, 8)}
    for name, epoch in {**names, 'last.pth': 5, 'epoch_best.pth': 4}.items():
        save_checkpoint(a_checkpoint(epoch, loop={'batch': 0}), tmp_path / name)
    read = set()

    def load(path: Path, mmap: bool) -> dict:
        read.add(path.name)
        return load_checkpoint(path, mmap)

    monkeypatch.setattr('detkit.engine.checkpoint.load_checkpoint', load)
    assert find_resumable(tmp_path).path.name == 'epoch_7.pth'
    assert read == {'epoch_7.pth', 'epoch_best.pth', 'last.pth'}
    damaged = ('epoch_6.pth', 'epoch_7.pth', 'last.pth')
    for name in damaged:
        (tmp_path / name).write_bytes(b'PK')
    read.clear()
    found = find_resumable(tmp_path)
    assert found.path.name == 'epoch_5.pth' and {path.name for path in found.damaged} == set(damaged)
    assert read == {'epoch_best.pth', 'epoch_5.pth', *damaged}


def test_a_hook_whose_state_cannot_be_saved(tmp_path):
    class Holder(Hook):
        def state_dict(self) -> dict:
            return {'found': {'images': [object()]}}

    runner = Runner(dummy_config(tmp_path / 'run'))
    runner.register_hook(Holder())
    with pytest.raises(
        ComponentError, match=r"Holder.state_dict\(\)\['found'\]\['images'\]\[0\] is a object; a checkpoint"
    ):
        runner.train()


@pytest.mark.parametrize('dtype', [torch.float8_e5m2, torch.float16, torch.float32])
def test_nan_is_refused_in_every_precision_and_large_and_infinite_numbers_are_not(dtype):
    large = {'large': torch.tensor([5e4, -5e4] * 300 + [5e4] * 300).to(dtype), 'mask': torch.tensor([0.0, -torch.inf])}
    refuse_nan({**large, 'both': torch.tensor([torch.inf, -torch.inf]).to(dtype)}, 'x.pth')
    with pytest.raises(
        CheckpointError, match=r'x\.pth holds values that are not a number \(NaN\) in 1 of its 3 .*wrong'
    ):
        refuse_nan({**large, 'wrong': torch.tensor([1.0, torch.nan]).to(dtype)}, 'x.pth')
