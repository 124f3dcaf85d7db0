"""COCO's panoptic form: what is read, what is refused, and where the bitmaps end up."""

import json

import cv2
import numpy as np
import pytest
from tiny_panoptic import CATEGORIES, SHAPE, write_tiny_panoptic

from detkit.datasets import CocoPanopticDataset
from detkit.datasets.collate import collate
from detkit.structures.panoptic import PanopticSegments, ids_to_rgb, rgb_to_ids
from detkit.utils.errors import ConfigError, DataError

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadSegments')]
RENDER = dict(
    type='Render',
    with_masks=True,
    mask_stride=1,
    overlap_mask=False,
    min_size=0,
    max_aspect=None,
    min_area_ratio=0,
    min_outline_area_ratio=0,
)


@pytest.fixture
def root(tmp_path):
    return write_tiny_panoptic(tmp_path)


def dataset(root, pipeline=(), **kwargs):
    return CocoPanopticDataset(
        'annotations/panoptic_val2017.json', 'val2017', data_root=str(root), pipeline=pipeline, **kwargs
    )


def edit(root, change):
    path = root / 'annotations' / 'panoptic_val2017.json'
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def true_ids(root, number):
    img = cv2.imread(str(root / 'annotations' / 'panoptic_val2017' / f'{number:012d}.png'))
    return rgb_to_ids(img[..., ::-1])


def test_ids_and_colours_are_inverses():
    ids = np.array([[0, 1, 255, 256], [65535, 65536, (1 << 24) - 1, 70000]], np.int32)
    np.testing.assert_array_equal(rgb_to_ids(ids_to_rgb(ids)), ids)


def test_segments_are_read(root):
    data = dataset(root)
    assert data.metainfo['classes'] == tuple(name for _, name, _ in CATEGORIES)
    assert data.metainfo['stuff_labels'] == (2, 3) and not data.skipped
    first, second = (record.annotations for record in data.records)
    assert first.labels.tolist() == [2, 3, 0, 0, 1] and not first.ignored.any()
    assert second.ignored.tolist() == [False] * 5 + [True]
    ids = true_ids(root, 1)
    for number, area, (x0, y0, x1, y1) in zip(data.records[0].segments.ids, first.areas, first.bboxes, strict=True):
        rows, columns = np.nonzero(ids == number)
        assert len(rows) == area
        assert (x0, y0, x1, y1) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_category_ids_can_be_the_labels(root):
    data = dataset(root, keep_category_ids=True)
    assert len(data.metainfo['classes']) == 194 and data.metainfo['stuff_labels'] == (187, 193)
    assert data.records[0].annotations.labels.tolist() == [187, 193, 1, 1, 18]
    chosen = dataset(root, metainfo=dict(classes=('dog', 'sky-other-merged')))
    assert chosen.metainfo['stuff_labels'] == (1,) and chosen.records[0].annotations.labels.tolist() == [1, 0]


@pytest.mark.parametrize('stated', [(2,), (0, 2, 3)])
def test_stated_stuff_must_be_the_files(root, stated):
    with pytest.raises(DataError, match='stuff_labels (lacks 3|has 0)'):
        dataset(root, metainfo=dict(stuff_labels=stated))


def test_a_class_is_stuff_or_a_thing(root):
    """Things may be merged, and so may stuff; their labels follow."""
    one_kind = dataset(root, class_map={'dog': 'person', 'grass-merged': 'sky-other-merged'})
    assert one_kind.metainfo['classes'] == ('person', 'sky-other-merged') and one_kind.metainfo['stuff_labels'] == (1,)
    with pytest.raises(ConfigError, match="the class 'person' is a thing and stuff: give each a name of its own"):
        dataset(root, class_map={'grass-merged': 'person'})


def test_bitmaps_follow_the_image(root):
    """At the original size the masks are the PNG; mirrored, halved and cut, its mirrored and sampled part."""
    sample = dataset(root, [*LOAD, RENDER, dict(type='PackInputs')])[1]
    ids = true_ids(root, 2)
    segments = dataset(root).records[1].segments.ids
    np.testing.assert_array_equal(sample['masks'], ids == segments[:5, None, None])  # the crowd is left out
    assert sample['annotations'].labels.tolist() == [2, 3, 0, 0, 1]
    flipped = dataset(root, [*LOAD, dict(type='RandomFlip', prob=1.0), RENDER, dict(type='PackInputs')])[1]
    np.testing.assert_array_equal(flipped['masks'], sample['masks'][:, :, ::-1])
    wide = dataset(root, [*LOAD, dict(type='ResizeShortestEdge', size=2 * SHAPE[0]), RENDER, dict(type='PackInputs')])[
        1
    ]
    np.testing.assert_array_equal(wide['masks'], sample['masks'].repeat(2, 1).repeat(2, 2))
    cut = dataset(root, [*LOAD, dict(type='CenterCrop', size=(16, 16)), RENDER, dict(type='PackInputs')])[1]
    top, left = (SHAPE[0] - 16) // 2, (SHAPE[1] - 16) // 2
    window = sample['masks'][:, top : top + 16, left : left + 16]
    np.testing.assert_array_equal(cut['masks'], window[window.any((1, 2))])
    assert len(cut['annotations']) == len(cut['masks']) < 5
    assert np.array_equal(collate([sample])['gt'].masks[0].numpy(), sample['masks'])


def test_a_segment_out_of_sight_is_dropped_though_its_hull_is_not(root):
    """A ring of grass around the middle: cut to the middle, its rows' hull still covers everything."""

    def add_ring(content):
        path = root / 'annotations' / 'panoptic_val2017' / f'{1:012d}.png'
        ids = np.zeros(SHAPE, np.int64)
        ids[:, :8] = ids[:, -8:] = ids[:8] = ids[-8:] = 193
        ids[8:-8, 8:-8] = 18
        cv2.imwrite(str(path), ids_to_rgb(ids)[..., ::-1])
        box = [0, 0, SHAPE[1], SHAPE[0]]
        content['annotations'][0]['segments_info'] = [
            dict(id=193, category_id=193, bbox=box, area=1, iscrowd=0),
            dict(id=18, category_id=18, bbox=box, area=1, iscrowd=0),
        ]

    edit(root, add_ring)
    cut = dataset(root, [*LOAD, dict(type='CenterCrop', size=(16, 16)), RENDER, dict(type='PackInputs')])[0]
    assert cut['annotations'].labels.tolist() == [1] and cut['masks'].all()


def test_ground_truth_of_a_test_has_the_bitmaps(root):
    data = dataset(root, [*LOAD, dict(type='Render'), dict(type='PackInputs')], test_mode=True)
    gt = collate([data[1]])['data_samples'][0].gt_instances
    segments = PanopticSegments.from_rles(gt.masks, gt.labels, SHAPE, gt.ignored)
    ids = np.concatenate([[0], data.records[1].segments.ids])
    np.testing.assert_array_equal(ids[segments.index_map], true_ids(root, 2))
    assert segments.ignored.tolist() == [False] * 5 + [True]


def test_without_its_transform_no_png_is_read(root):
    for path in (root / 'annotations' / 'panoptic_val2017').iterdir():
        path.write_bytes(b'')
    sample = dataset(root, [dict(type='LoadImageFromFile'), dict(type='Render'), dict(type='PackInputs')])[0]
    assert len(sample['annotations']) == 5


def test_a_broken_png_is_a_skip(root):
    path = root / 'annotations' / 'panoptic_val2017' / f'{1:012d}.png'
    cv2.imwrite(str(path), np.zeros((*SHAPE, 3), np.uint8))  # none of the segments that the json lists
    data = dataset(root, [*LOAD, dict(type='Render'), dict(type='PackInputs')], test_mode=True)
    sample = data[0]
    assert 'has no pixel of the segment' in sample['meta']['skipped'] and sample['skipped'][0][0] == str(path)
    cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))
    assert 'is 8x8 pixels, but its image 64x48' in data[0]['meta']['skipped']


@pytest.mark.parametrize(
    'change, reason',
    [
        (dict(id=0), 'its id is no colour'),
        (dict(category_id=5), 'unknown category 5'),
        (dict(bbox=[3, 3, 0, 4]), 'is empty or no box'),
        (dict(bbox=[3, 3, float('nan'), 4]), 'is empty or no box'),
    ],
)
def test_a_bad_segment_is_left_out_alone(root, change, reason):
    edit(root, lambda content: content['annotations'][0]['segments_info'][0].update(change))
    data = dataset(root)
    assert len(data.records[0].annotations) == 4 and len(data.records[0].segments.ids) == 4
    ((_, where, found, *_),) = data.skipped
    assert 'of image 1' in where and reason in found


@pytest.mark.parametrize(
    'change, reason',
    [
        (dict(file_name='9.png'), "its PNG '9.png' does not exist"),
        (dict(image_id=9), 'of an image that the file does not list'),
        (dict(image_id=2), 'its image has an earlier annotation'),
        (dict(segments_info=None), 'no list segments_info'),
    ],
)
def test_a_bad_annotation_takes_its_image_out(root, change, reason):
    edit(root, lambda content: content['annotations'].reverse() or content['annotations'][1].update(change))
    data = dataset(root, max_skipped=1.0)
    assert [record.img_id for record in data.records] == [2]
    assert any(reason in found for _, _, found, *_ in data.skipped)


def test_an_unlabelled_image_is_left_out(root):
    edit(root, lambda content: content['annotations'].pop())
    data = dataset(root)
    assert len(data) == 1 and data.skipped[0][1:3] == ('image 2', 'no annotation')


def test_what_cannot_be_is_refused(root):
    with pytest.raises(DataError, match='seg_prefix'):
        dataset(root, seg_prefix='nowhere')
    edit(root, lambda content: content['categories'][0].pop('isthing'))
    with pytest.raises(DataError, match='does not say isthing'):
        dataset(root)


def test_two_categories_of_one_name_are_refused_where_both_have_segments(root):
    edit(root, lambda content: content['categories'].append({**content['categories'][0], 'id': 99}))
    assert dataset(root).metainfo['category_ids'] == tuple(number for number, _, _ in CATEGORIES)
    edit(root, lambda content: content['categories'].insert(0, {**content['categories'][0], 'id': 0}))
    assert dataset(root).metainfo['category_ids'] == tuple(number for number, _, _ in CATEGORIES)
    edit(root, lambda content: content['annotations'][0]['segments_info'][0].update(category_id=0))
    with pytest.raises(DataError, match='has objects of the categories 0 and 1, both of the name'):
        dataset(root)


def test_bitmaps_of_another_data_set_are_refused(tiny_data):
    from detkit.datasets import CocoDataset

    data = CocoDataset('annotations/instances_val2017.json', 'val2017', data_root=str(tiny_data), pipeline=LOAD)
    with pytest.raises(ConfigError, match='CocoPanopticDataset'):
        data[0]
