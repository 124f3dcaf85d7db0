"""Records in flat arrays: the same as the records that they are made of, whatever part of them is taken."""

import os

import numpy as np
import pytest
import torch
from format_helpers import write_yolo
from pycocotools import mask as mask_utils

from detkit.datasets import YoloTxtDataset, flat_annotations
from detkit.datasets.collate import collate
from detkit.datasets.flat_annotations import FlatAnnotations, FlatRecords, outline_areas
from detkit.datasets.records import PackedBytes
from detkit.structures.annotations import Annotations, Polygons, Record, SegmentFile

RLE = mask_utils.encode(np.asfortranarray(np.eye(4, 5, dtype=np.uint8)))


def make_records():
    outlined = Annotations(
        labels=np.array([2, 0, 2]),
        bboxes=np.array([[0, 0, 4, 4], [1, 1, 2, 3], [0, 1, 5, 4]], np.float32),
        ignored=np.array([False, False, True]),
        polygons=Polygons(
            np.arange(14, dtype=np.float32).reshape(7, 2), np.array([3, 4], np.int64), np.array([0, 0], np.int64)
        ),
        rles=[None, None, RLE],
        keypoints=np.arange(18, dtype=np.float32).reshape(3, 2, 3),
        rbboxes=np.ones((3, 5), np.float32),
    )
    boxed = Annotations(labels=np.array([1]), bboxes=np.array([[1, 0, 3, 2]], np.float32))
    return [
        Record('a/é.png', '0001', (4, 5), outlined, segments=SegmentFile('a.png', np.array([7, 8, 9]))),
        Record(os.fsdecode(b'b/\xff.png'), 2, None, Annotations(), class_label=3),
        Record('c.png', 1.5, (2, 3), boxed),
    ]


def assert_same(own, other, names=('labels', 'bboxes', 'ignored', 'areas')):
    for name in names:
        np.testing.assert_array_equal(getattr(own, name), getattr(other, name), err_msg=name)


def test_no_images():
    records = FlatRecords.of([])
    assert len(records) == 0 and list(records) == [] and records.count_labels(3).tolist() == [0, 0, 0]
    assert records.shapes().shape == (0, 2)


def test_records_are_those_that_were_packed():
    given = make_records()
    for own, record in zip(FlatRecords.of(given), given, strict=True):
        assert (own.img_path, own.img_id, own.ori_shape) == (record.img_path, record.img_id, record.ori_shape)
        assert type(own.img_id) is type(record.img_id) and own.class_label == record.class_label
        assert_same(own.annotations, record.annotations)
    first, second, third = FlatRecords.of(given)
    assert_same(first.annotations, given[0].annotations, ('labels', 'bboxes', 'keypoints', 'rbboxes'))
    polygons = first.annotations.polygons
    assert polygons.ring_sizes.tolist() == [3, 4] and polygons.ring_owners.tolist() == [0, 0]
    np.testing.assert_array_equal(polygons.points, given[0].annotations.polygons.points)
    assert first.annotations.rles[:2] == [None, None]
    np.testing.assert_array_equal(mask_utils.decode(first.annotations.rles[2]), np.eye(4, 5))
    assert first.segments.path == 'a.png' and first.segments.ids.tolist() == [7, 8, 9]
    assert second.segments is None and third.segments is None
    assert len(third.annotations.polygons.ring_sizes) == 0 and third.annotations.rles == [None]
    assert third.annotations.keypoints.shape == (1, 2, 3)


def test_what_is_handed_out_changes_no_record():
    records = FlatRecords.of(make_records())
    own = records[0].annotations
    shared = (own.labels, own.bboxes, own.ignored, own.areas, own.keypoints, own.rbboxes, own.polygons.points)
    for values in shared:
        with pytest.raises(ValueError, match='read-only'):
            values[:] = 0
    meta = dict(img_path='a.png', img_id=1, ori_shape=(4, 5), img_shape=(4, 5), matrix=np.eye(3))
    sample = dict(inputs=torch.zeros(3, 4, 5, dtype=torch.uint8), annotations=own, meta=meta, gt_raw=own)
    truth = collate([sample])['data_samples'][0].gt_instances
    truth.bboxes[:] = 0
    truth.rbboxes[:] = 0
    assert records[0].annotations.bboxes.any() and records[0].annotations.rbboxes.any()


def test_parts_of_them():
    records = FlatRecords.of(make_records())
    assert records.count_labels(4).tolist() == [1, 1, 1, 1]  # the ignored object teaches nothing
    assert records[1:].count_labels(4).tolist() == [0, 1, 0, 1] and len(records[1:]) == 2
    assert [record.img_path for record in records.select(np.array([2, 0]))] == ['c.png', 'a/é.png']
    assert records[-1].img_id == 1.5 and records[1:][0].class_label == 3
    assert records.shapes().tolist() == [[4, 5], [0, 0], [2, 3]]
    single = records.with_one_class()
    assert single[0].annotations.labels.tolist() == [0, 0, 0] and records[0].annotations.labels.tolist() == [2, 0, 2]
    with pytest.raises(IndexError):
        records[3]


def test_selected_objects_keep_what_belongs_to_them():
    flat = FlatAnnotations.join([record.annotations for record in make_records()])
    part = flat.select(np.array([True, False, True, False]))
    assert part.labels.tolist() == [2, 2] and part.images.tolist() == [0, 0]
    assert part.ring_owners.tolist() == [0, 0] and part.rle_owners.tolist() == [1] and len(part.rle_counts) == 1
    none = flat.select(np.zeros(4, bool))
    assert len(none.points) == 0 and len(none.rle_counts) == 0 and none.keypoints.shape == (0, 2, 3)


def test_areas_that_are_not_stated_are_measured():
    square = np.array([[0, 0], [2, 0], [2, 2], [0, 2]], np.float64)
    areas = outline_areas(np.concatenate([square, square * 2 + 1e6]), np.array([2, 2]), np.array([4, 4]), 4)
    np.testing.assert_array_equal(areas, [np.nan, np.nan, 20, np.nan])


def test_areas_are_measured_in_blocks_of_rings(monkeypatch):
    rng = np.random.default_rng(0)
    sizes, owners = rng.integers(3, 9, 40), np.sort(rng.integers(0, 20, 40))
    points = rng.uniform(0, 100, (int(sizes.sum()), 2))
    whole = outline_areas(points, owners, sizes, 20)
    for block in (1, 7, 50):
        monkeypatch.setattr(flat_annotations, '_BLOCK_POINTS', block)
        np.testing.assert_array_equal(outline_areas(points, owners, sizes, 20), whole)


def test_packed_bytes():
    packed = PackedBytes([b'', b'ab', b'', b'c'])
    assert list(packed[i] for i in range(4)) == [b'', b'ab', b'', b'c'] and len(packed) == 4
    assert len(PackedBytes([])) == 0


@pytest.mark.parametrize('options', [{}, {'single_class': True}, {'fraction': 0.5}])
def test_classes_that_cannot_be_learnt_are_named_once(tmp_path, options):
    write_yolo(tmp_path, {'a': '1 0.5 0.5 0.2 0.4\n', 'b': '2 0.5 0.5 0.2 0.4\n'})
    classes = {'classes': ('cat', 'dog', 'bird', 'N/A')}

    def load(**more):
        return YoloTxtDataset('images/train', data_root=str(tmp_path), metainfo=classes, **options, **more)

    expected = {0: [("class 'cat'", 1)], 1: [], 2: [("classes 'cat', 'bird'", 2)]}
    number = 1 if 'single_class' in options else 2 if 'fraction' in options else 0
    assert [(skip.where, skip.count) for skip in load().unused] == expected[number]
    assert load(test_mode=True).unused == []
