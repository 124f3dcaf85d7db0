"""Batches of worker processes that cannot be shared, or not be sent at all, and systems without workers."""

import pytest
import torch

from detkit.datasets import build_dataloader, loader, worker_context
from detkit.datasets.loader import number_of_workers
from detkit.utils.errors import ConfigError, DataError


class Images(torch.utils.data.Dataset):
    """Tensors whose memory cannot be shared after the first ones, where ``error`` says why."""

    def __init__(self, error=None):
        self.error = error

    def __len__(self):
        return 8

    def __getitems__(self, keys):
        if self.error is not None and keys[0].position > 1:
            torch.UntypedStorage._share_fd_cpu_ = self.fail  # in this worker alone
        return [torch.full((3, 50), key.index) for key in keys]

    def fail(self, *_, **__):
        raise self.error


class Unsendable(Images):
    """Samples of which the last ones hold what no process can send to another."""

    def __getitems__(self, keys):
        return [(lambda: 0) if key.position > 5 else key.index for key in keys]


def keep(samples):
    return samples


def batches(dataset, num_workers=2):
    cfg = {'dataset': dataset, 'collate_fn': keep, 'batch_size': 2, 'num_workers': num_workers}
    batches = build_dataloader(cfg, seed=0)
    batches.batch_sampler.set_epoch(0)
    try:
        return list(batches)
    finally:
        batches.close()


@pytest.fixture
def lines(monkeypatch):
    """The lines that are logged; those that come once a program come again in each test."""
    caches = (worker_context._note_copies, worker_context.no_workers_reason, loader._note_no_workers)
    found = []
    for module in (worker_context, loader):
        monkeypatch.setattr(module, 'print_log', lambda text, *_: found.append(text))
    for each in caches:
        each.cache_clear()
    yield found
    for each in caches:
        each.cache_clear()


@pytest.mark.parametrize(
    ('error', 'reason'),
    [
        (RuntimeError('no memory for file </torch_1_2>: No space left (28)'), '(no memory: No space left (28))'),
        (OSError(24, 'Too many open files'), '([Errno 24] Too many open files)'),
    ],
)
def test_batches_that_cannot_be_shared_are_copied(lines, error, reason):
    found = batches(Images(error))
    expected = batches(Images(), num_workers=0)
    assert len(found) == 4
    assert all(
        torch.equal(a, b) for left, right in zip(found, expected, strict=True) for a, b in zip(left, right, strict=True)
    )
    (line,) = lines
    assert reason in line and '--shm-size' in line


def test_a_batch_that_cannot_be_sent_is_an_error(lines):
    with pytest.raises(DataError, match=r'^a worker process cannot send its batch: .*lambda'):
        batches(Unsendable())


def no_locks():
    raise OSError(30, 'Read-only file system')


def test_a_system_without_shared_locks_has_no_workers(lines, monkeypatch):
    monkeypatch.setattr(type(worker_context.get_context()), 'Lock', lambda self: no_locks())
    assert number_of_workers(None) == number_of_workers(None) == 0
    (line,) = lines
    assert 'Read-only file system' in line and '/dev/shm' in line
    assert number_of_workers(0) == 0
    with pytest.raises(ConfigError, match='num_workers=2 asks for .*; write num_workers=0$'):
        number_of_workers(2)
