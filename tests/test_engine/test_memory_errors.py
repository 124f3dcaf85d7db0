"""Out of memory is a sentence that says what would fit."""

import pytest
import torch

from detkit.engine import Runner
from detkit.engine.memory_errors import MemoryShortageError, is_memory_error

from .dummy import DummyDetector, dummy_config


@pytest.mark.parametrize(
    'error',
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
    ],
)
def test_a_full_memory_names_a_batch_that_would_fit(tmp_path, monkeypatch, error):
    forward, calls = DummyDetector.forward, []

    def fail_later(self, *args, **kwargs):
        calls.append(kwargs.get('mode'))
        if calls.count('loss') == 3:
            raise error
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(DummyDetector, 'forward', fail_later)
    with pytest.raises(
        MemoryShortageError,
        match=r"machine's memory is full in iteration 2\..*batch_size=2 .* in place of 4.*accumulate=4",
    ):
        Runner(dummy_config(tmp_path / 'run')).train()


def test_a_batch_of_one(tmp_path, monkeypatch):
    def fail(self, *args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(DummyDetector, 'forward', fail)
    loader = {**dummy_config('')['train_dataloader'], 'batch_size': 1}
    with pytest.raises(MemoryShortageError, match='a smaller image size'):
        Runner(dummy_config(tmp_path / 'run', train_dataloader=loader)).train()


def test_what_is_a_lack_of_memory():
    assert is_memory_error(torch.cuda.OutOfMemoryError('CUDA out of memory'))
    assert not is_memory_error(RuntimeError('shapes do not match'))
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_memory_error(caught.value)
