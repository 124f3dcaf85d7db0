"""Unreadable images at batch size 1 and in repeated sets, and workers that die."""

import os
import signal
import threading

import pytest
import torch
from scene_helpers import ListDataset, write_shapes
from test_base import TRAIN, VAL, truncate
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from detkit.datasets.collate import collate
from detkit.datasets.loader import build_dataloader
from detkit.datasets.sample_key import SampleKey
from detkit.datasets.wrappers import ConcatDataset, RepeatDataset
from detkit.utils.errors import DataError


@pytest.fixture
def records(tmp_path):
    return write_shapes(tmp_path)


@pytest.mark.parametrize('pipeline', [TRAIN, VAL])
@pytest.mark.parametrize('wrap', [lambda d: d, lambda d: RepeatDataset(d, times=3), lambda d: ConcatDataset([d, d])])
def test_a_batch_of_one_bad_image_gets_another_of_the_set(records, pipeline, wrap):
    truncate(records[1].img_path)
    dataset = wrap(ListDataset(records, pipeline=pipeline))
    drawn = []
    for epoch in range(6):
        batch = collate(dataset.__getitems__([SampleKey(3, epoch, 1, 1)]))
        again = collate(dataset.__getitems__([SampleKey(3, epoch, 1, 1)]))
        assert torch.equal(batch['inputs'], again['inputs'])
        (sample,) = batch['data_samples']
        drawn.append(sample.img_id)
        assert {skip.path for skip in batch['skipped']} == {records[1].img_path}
    assert 1 not in drawn and len(set(drawn)) > 1


def test_a_batch_whose_images_are_all_one_bad_image(records):
    truncate(records[1].img_path)
    dataset = RepeatDataset(ListDataset(records, pipeline=VAL), times=4)
    batch = collate(dataset.__getitems__([SampleKey(3, 0, p, 1 + 6 * p) for p in range(4)]))
    assert 1 not in [sample.img_id for sample in batch['data_samples']]


def test_a_deleted_file_is_replaced_too(records):
    os.remove(records[2].img_path)
    batch = collate(ListDataset(records, pipeline=VAL).__getitems__([SampleKey(0, 0, 2, 2)]))
    assert len(batch['skipped']) == 1 and batch['data_samples'][0].img_id != 2


def test_a_set_without_any_readable_image(records):
    for record in records:
        truncate(record.img_path)
    with pytest.raises(DataError, match='none of the 1 images of a group can be read, nor of 6 others'):
        ListDataset(records, pipeline=VAL).__getitems__([0])


class KilledWorkers(torch.utils.data.Dataset):
    """Numbers, of which ``deadly`` ones kill the worker, each once or always."""

    def __init__(self, folder, deadly, once=True):
        self.folder, self.deadly, self.once = folder, deadly, once

    def __len__(self):
        return 24

    def __getitems__(self, keys):
        for key in keys:
            mark = self.folder / str(key.index)
            if key.index in self.deadly and not (self.once and mark.exists()):
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return [(key.epoch, key.index) for key in keys]


@pytest.fixture
def quick_look(monkeypatch):
    """Let PyTorch look for dead workers ten times a second, and not every five seconds."""
    monkeypatch.setattr(_MultiProcessingDataLoaderIter._try_get_data, '__defaults__', (0.1,))


def loader_of(dataset):
    sampler = dict(type='EpochSampler', shuffle=False)
    return build_dataloader(
        dict(dataset=dataset, batch_size=2, num_workers=2, collate_fn=list, sampler=sampler), seed=0
    )


def test_a_dead_worker_is_started_again_at_its_batch(tmp_path, quick_look):
    loader = loader_of(KilledWorkers(tmp_path, {13}))
    handler = signal.getsignal(signal.SIGCHLD)
    loader.batch_sampler.set_epoch(4)
    loader.batch_sampler.skip(2)
    assert [pair for batch in loader for pair in batch] == [(4, index) for index in range(4, 24)]
    assert (tmp_path / '13').exists()
    assert signal.getsignal(signal.SIGCHLD) is handler  # else the error would come in the middle of a step
    loader.batch_sampler.set_epoch(5)
    assert [pair for batch in loader for pair in batch] == [(5, index) for index in range(24)]
    loader.close()


def test_a_worker_that_dies_again(tmp_path, quick_look):
    loader = loader_of(KilledWorkers(tmp_path, {5}, once=False))
    read = []
    with pytest.raises(DataError, match=r'died for the second time .* batch [123] .*num_workers=1'):
        for batch in loader:
            read += batch
    assert read == [(0, index) for index in range(len(read))] and len(read) <= 4
    loader.close()


@pytest.mark.parametrize('skipped', [0, 3])
def test_a_worker_that_dies_between_epochs(tmp_path, quick_look, skipped):
    """Its death shows when the next epoch begins, which is as much an epoch's first death as any other."""
    loader = loader_of(KilledWorkers(tmp_path, ()))
    list(loader)
    worker = loader._iterator._workers[1]
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    loader.batch_sampler.set_epoch(1)
    loader.batch_sampler.skip(skipped)
    assert [pair for batch in loader for pair in batch] == [(1, index) for index in range(2 * skipped, 24)]
    loader.close()


class Odd(KilledWorkers):
    def __getitems__(self, keys):
        raise RuntimeError('an error of the dataset')


def test_errors_of_the_dataset_are_no_dead_workers(tmp_path):
    loader = loader_of(Odd(tmp_path, ()))
    with pytest.raises(RuntimeError, match='an error of the dataset'):
        list(loader)
    loader.close()


def test_loaders_outside_the_main_thread(tmp_path):
    read = []
    thread = threading.Thread(target=lambda: read.extend(loader_of(KilledWorkers(tmp_path, ()))))
    thread.start()
    thread.join()
    assert len(read) == 12
