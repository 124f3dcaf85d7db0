"""Repeated and joined datasets."""

import numpy as np
import pytest
from format_helpers import write_yolo

from detkit.datasets import ConcatDataset, RepeatDataset, SampleKey, YoloTxtDataset
from detkit.utils.errors import ConfigError


class Keys:
    """A dataset whose samples are their keys."""

    metainfo = {'classes': ('a',)}
    order = None
    max_skipped = 0.25

    def __init__(self, size, name='x'):
        self.size, self.name, self.skipped = size, name, [(name, None, 'bad')]

    def __len__(self):
        return self.size

    def __getitem__(self, key):
        return self.__getitems__([key])[0]

    def __getitems__(self, keys):
        return [{'name': self.name, 'key': key} for key in keys]


def test_repeat_keeps_positions():
    dataset = RepeatDataset(Keys(3), times=4)
    assert len(dataset) == 12 and dataset.metainfo == Keys.metainfo and dataset.skipped == [('x', None, 'bad')]
    assert dataset.max_skipped == 0.25
    keys = [SampleKey(1, 2, position, index) for position, index in ((0, 2), (1, 5), (2, 11), (3, 0))]
    found = [sample['key'] for sample in dataset.__getitems__(keys)]
    assert found == [SampleKey(1, 2, position, index) for position, index in ((0, 2), (1, 2), (2, 2), (3, 0))]
    assert dataset[7]['key'] == SampleKey(0, 0, 7, 1)
    with pytest.raises(ValueError, match='times'):
        RepeatDataset(Keys(3), times=0)


def test_repeat_has_the_order_of_its_data_set():
    inner = Keys(3)
    assert RepeatDataset(inner, 2).order is None
    inner.order = np.array([2, 0, 1])
    assert RepeatDataset(inner, 2).order.tolist() == [2, 0, 1, 5, 3, 4]


def test_concat_asks_each_data_set_once_for_its_part():
    dataset = ConcatDataset([Keys(3, 'x'), Keys(2, 'y')])
    assert len(dataset) == 5 and len(dataset.skipped) == 2 and dataset.max_skipped == 0.25
    keys = [SampleKey(0, 1, position, index) for position, index in ((0, 4), (1, 0), (2, 3), (3, 2))]
    found = [(sample['name'], sample['key'].position, sample['key'].index) for sample in dataset.__getitems__(keys)]
    assert found == [('y', 0, 1), ('x', 1, 0), ('y', 2, 0), ('x', 3, 2)]
    assert dataset[3] == {'name': 'y', 'key': SampleKey(0, 0, 3, 0)}


def test_concat_needs_equal_classes_of_datasets_that_cannot_be_relabelled():
    other = Keys(2)
    other.metainfo = {'classes': ('a', 'b')}
    with pytest.raises(ConfigError, match='dataset 1 has 1 classes .* no method with_classes'):
        ConcatDataset([other, Keys(1)])
    with pytest.raises(ValueError, match='empty'):
        ConcatDataset([])


def test_wrapped_configs_give_samples(tmp_path):
    root = str(write_yolo(tmp_path, {'one': '0 0.5 0.5 0.8 0.8', 'two': ''}))
    steps = ['LoadImageFromFile', 'LetterBox', 'Render', 'PackInputs']
    config = {
        'type': 'YoloTxtDataset',
        'data_root': root,
        'images': 'images/train',
        'metainfo': {'classes': ('a',)},
        'pipeline': [{'type': name, 'size': 32} if name == 'LetterBox' else {'type': name} for name in steps],
    }
    dataset = RepeatDataset({'type': 'ConcatDataset', 'datasets': [config, config]}, times=2)
    assert isinstance(dataset.dataset.datasets[0], YoloTxtDataset) and len(dataset) == 8
    samples = dataset.__getitems__(range(8))
    assert sorted(len(sample['annotations']) for sample in samples) == [0] * 4 + [1] * 4
    assert all(tuple(sample['inputs'].shape) == (3, 32, 32) for sample in samples)
