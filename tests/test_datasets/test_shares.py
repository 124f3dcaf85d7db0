"""Boxes divided by the image's size where pixels are expected."""

import numpy as np
import pytest
from tiny_voc import object_xml, write_voc

from detkit.datasets import VOCDataset
from detkit.datasets.shares import are_shares
from detkit.utils.errors import DataError


@pytest.mark.parametrize(
    ('bboxes', 'found'),
    [
        ([[0.1, 0.2, 0.9, 1.2]], True),
        ([[0, 0, 1, 1]], True),
        ([[0.1, 0.2, 0.9, 1.2], [0, 0, 2, 1]], False),
        ([[-0.1, 0, 1, 1]], False),
        (np.zeros((0, 4)), False),
    ],
)
def test_boxes_between_0_and_1_5(bboxes, found):
    assert are_shares(np.array(bboxes)) == found


def test_a_voc_set_of_such_boxes(tmp_path):
    small = object_xml('cat', (0.2, 0.1, 0.6, 1))
    objects = {'a': [small, object_xml('dog', (0, 0, 1, 1))], 'b': []}
    options = dict(data_root=str(write_voc(tmp_path / 'shares', objects, {'train': ['a', 'b']}, (20, 10))))
    options['splits'] = 'train'
    with pytest.raises(DataError, match=r'object 1: its box has no number above 1.5.*look normalised'):
        VOCDataset(**options)
    dataset = VOCDataset(max_skipped=1, **options)
    assert [skip.where for skip in dataset.skipped] == ['object 1', 'object 2']
    assert [len(record.annotations) for record in dataset.records] == [0, 0]
    objects['b'].append(object_xml('dog', (3, 4, 20, 10)))
    options['data_root'] = str(write_voc(tmp_path / 'pixels', objects, {'train': ['a', 'b']}, (20, 10)))
    dataset = VOCDataset(one_based=False, **options)
    assert [len(record.annotations) for record in dataset.records] == [2, 1] and not dataset.skipped
