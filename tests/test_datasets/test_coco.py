"""COCO json: boxes, outlines, bitmaps, crowds, and what is wrong in a file."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from format_helpers import write_image
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO

from detkit.config import load_config
from detkit.datasets import CocoDataset
from detkit.datasets.class_names import COCO80, COCO91, COCO_CATEGORY_IDS
from detkit.structures.annotations import coco_segmentations
from detkit.structures.masks import segmentation_to_rle
from detkit.utils.errors import DataError

CONTENT = {
    'images': [
        {'id': 7, 'file_name': 'b.png', 'height': 10, 'width': 20},
        {'id': 3, 'file_name': 'a.png', 'height': 10, 'width': 20},
        {'id': 5, 'file_name': 'c.png', 'height': 10, 'width': 20},
    ],
    'categories': [{'id': 9, 'name': 'dog'}, {'id': 2, 'name': 'cat'}],
    'annotations': [
        {
            'id': 1,
            'image_id': 3,
            'category_id': 9,
            'bbox': [2, 1, 4, 5],
            'area': 11.5,
            'iscrowd': 0,
            'segmentation': [[2, 1, 6, 1, 6, 6], [2, 3, 4, 3, 4, 6, 2, 6]],
        },
        {'id': 2, 'image_id': 7, 'category_id': 2, 'bbox': [0, 0, 5, 5]},
        {
            'id': 3,
            'image_id': 3,
            'category_id': 2,
            'bbox': [0, 0, 2, 10],
            'area': 20,
            'iscrowd': 1,
            'segmentation': {'size': [10, 20], 'counts': [0, 20, 180]},
        },
    ],
}
IDS = [7, 3, 5]


@pytest.fixture
def make(tmp_path):
    for name in 'abc':
        write_image(tmp_path / 'pictures' / f'{name}.png', 20, 10)

    def _make(change=None, **options):
        content = copy.deepcopy(CONTENT)
        if change is not None:
            change(content)
        (tmp_path / 'instances.json').write_text(json.dumps(content))
        return CocoDataset('instances.json', 'pictures', data_root=str(tmp_path), **options)

    return _make


def test_records(make):
    dataset = make()
    assert [record.img_id for record in dataset.records] == IDS and dataset.skipped == []
    assert dataset.metainfo == {'classes': ('cat', 'dog'), 'category_ids': (2, 9)}
    b, a, c = (record.annotations for record in dataset.records)
    assert len(c) == 0 and c.rles == [] and len(c.polygons.ring_sizes) == 0
    assert a.labels.tolist() == [1, 0] and a.ignored.tolist() == [False, True]
    assert a.bboxes.tolist() == [[2, 1, 6, 6], [0, 0, 2, 10]] and a.areas.tolist() == [11.5, 20]
    assert a.polygons.ring_sizes.tolist() == [3, 4] and a.polygons.ring_owners.tolist() == [0, 0]
    assert a.polygons.points[:3].tolist() == [[2, 1], [6, 1], [6, 6]]
    assert a.rles[0] is None
    assert mask_utils.decode(a.rles[1])[:, :2].all() and mask_utils.area(a.rles[1]) == 20
    # No area stated and no outline: the box's.
    assert b.areas.tolist() == [25] and b.rles == [None]


def test_compressed_and_plain_run_lengths_are_the_same(make):
    bitmap = np.zeros((10, 20), np.uint8, order='F')
    bitmap[:, :2] = 1
    rle = mask_utils.encode(bitmap)
    counts = rle['counts'].decode()
    dataset = make(lambda c: c['annotations'][2].update(segmentation={'size': [10, 20], 'counts': counts}))
    other = make()
    assert dataset.records[1].annotations.rles[1] == other.records[1].annotations.rles[1] == rle


def test_area_of_a_bitmap_is_counted(make):
    dataset = make(lambda c: c['annotations'][2].pop('area'))
    assert dataset.records[1].annotations.areas[1] == 20


def test_classes_choose_and_sort(make):
    dataset = make(metainfo={'classes': ('dog', 'cat')})
    assert dataset.metainfo['category_ids'] == (9, 2)
    assert dataset.records[1].annotations.labels.tolist() == [0, 1]
    dataset = make(metainfo={'classes': ['dog']})
    assert dataset.metainfo == {'classes': ('dog',), 'category_ids': (9,)}
    assert [len(record.annotations) for record in dataset.records] == [0, 1, 0] and dataset.skipped == []
    with pytest.raises(DataError, match="'dogg'.*2 categories.*Did you mean 'dog'"):
        make(metainfo={'classes': ('cat', 'dogg')})


def test_single_class_takes_all_categories(make):
    dataset = make(single_class=True, metainfo={'classes': ('object',)})
    assert dataset.metainfo['classes'] == ('object',)
    assert dataset.records[1].annotations.labels.tolist() == [0, 0]


def test_sizes_are_read_where_the_file_has_none(make):
    def change(content):
        del content['images'][1]['height']

    assert make(change).records[1].ori_shape == (10, 20)


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        ({'image_id': 99}, 'image_id 99 (whole number) is not among the images'),
        ({'category_id': 99}, 'category_id 99 (whole number) is not a category'),
        ({'bbox': [1, 1, 0, 5]}, 'no width or no height'),
        ({'bbox': [1, 1, 5, -5]}, 'no width or no height'),
        ({'bbox': [25, 1, 5, 5]}, 'lies outside the image'),
        ({'bbox': [1, 1, 5]}, 'not four finite numbers'),
        ({'bbox': [1, 1, 5, float('nan')]}, 'not four finite numbers'),
        ({'bbox': [1, 1, 5, '5']}, 'not four finite numbers'),
        ({'bbox': None}, 'not four finite numbers'),
        ({'segmentation': {'size': [20, 10], 'counts': [0, 20, 180]}}, 'segmentation'),
        ({'segmentation': {'size': [10, 20], 'counts': [0, 20, 20]}}, 'segmentation'),
        ({'segmentation': {'size': [10, 20]}}, 'segmentation'),
        ({'iscrowd': -1}, 'neither 0 nor 1'),
    ],
)
def test_a_bad_annotation_is_left_out_alone(make, change, reason):
    bad = {'id': 4, 'image_id': 3, 'category_id': 2, 'bbox': [1, 1, 5, 5], **change}
    dataset = make(lambda content: content['annotations'].insert(1, bad))
    assert [len(record.annotations) for record in dataset.records] == [1, 2, 0]
    [(file, entry, text, *_)] = dataset.skipped
    assert file.endswith('instances.json') and entry == f'annotation 4 of image {bad["image_id"]}' and reason in text


def test_repeated_annotation(make):
    def change(content):
        same = {**content['annotations'][0], 'id': 8}
        other = {**content['annotations'][0], 'id': 9, 'segmentation': [[2, 1, 6, 1, 6, 6]]}
        content['annotations'] += [same, other]

    dataset = make(change)
    assert len(dataset.records[1].annotations) == 3 and dataset.skipped == []
    assert [skip.where for skip in dataset.unused] == ['annotation 8 of image 3']


def test_missing_image_takes_its_annotations_along(make):
    dataset = make(lambda content: content['images'][1].update(file_name='gone.png'))
    assert [record.img_id for record in dataset.records] == [7, 5]
    [(path, _, reason, *_)] = dataset.skipped
    assert path.endswith('gone.png') and 'image 3' in reason


def test_repeated_image_id(make):
    dataset = make(lambda content: content['images'].append({'id': 3, 'file_name': 'c.png', 'height': 1, 'width': 1}))
    assert len(dataset) == 3 and 'earlier image' in dataset.skipped[0][2]


def test_too_much_wrong_is_an_error(make):
    def change(content):
        for annotation in content['annotations']:
            annotation['image_id'] = 99

    with pytest.raises(DataError, match=r'(?s)3 of 6 .*instances.json.*annotation 1 of image 99'):
        make(change)
    assert len(make(change, max_skipped=0.5)) == 3


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{"images": [', 'no valid JSON'),
        ('[]', "no list 'images'"),
        ('{"images": [], "annotations": {}, "categories": []}', "no list 'annotations'"),
        ('{"images": [], "annotations": [], "categories": []}', 'no categories'),
        ('{"images": [], "annotations": [], "categories": [{"id": 1}]}', 'no id or no name'),
        ('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}]}', 'lists no images'),
    ],
)
def test_wrong_files(tmp_path, text, message):
    (tmp_path / 'x.json').write_text(text)
    with pytest.raises(DataError, match=message):
        CocoDataset('x.json', data_root=str(tmp_path))


def test_missing_file_and_folder(make, tmp_path):
    with pytest.raises(DataError, match='gone.json.*ann_file'):
        CocoDataset('gone.json', data_root=str(tmp_path))
    make()
    with pytest.raises(DataError, match='gone.*img_prefix'):
        CocoDataset('instances.json', 'gone', data_root=str(tmp_path))


@pytest.mark.realdata
@pytest.mark.parametrize(
    'name',
    [
        'coco128/annotations/instances_train2017.json:coco128/train2017',
        'coco-pose-mini/annotations/instances_val2017.json:coco-pose-mini/val2017',
    ],
)
def test_real_file_against_pycocotools(real_data, name):
    ann_file, images = name.split(':')
    dataset = CocoDataset(ann_file, images, data_root=str(real_data), test_mode=True)
    reference = COCO(str(real_data / ann_file))
    assert dataset.metainfo == {'classes': COCO80, 'category_ids': COCO_CATEGORY_IDS}
    assert dataset.skipped == [] and len(dataset) == len(reference.imgs)
    assert sum(len(record.annotations) for record in dataset.records) + len(dataset.unused) == len(reference.anns)
    crowds = 0
    for record in dataset.records:
        expected = reference.loadAnns(reference.getAnnIds(record.img_id))
        own = record.annotations
        assert own.areas.tolist() == np.float32([entry['area'] for entry in expected]).tolist()
        assert [COCO_CATEGORY_IDS[label] for label in own.labels] == [entry['category_id'] for entry in expected]
        for i, entry in enumerate(expected):
            x, y, w, h = entry['bbox']
            np.testing.assert_allclose(own.bboxes[i], [x, y, x + w, y + h], rtol=1e-6)
            if own.ignored[i]:
                crowds += 1
                assert (mask_utils.decode(own.rles[i]) == reference.annToMask(entry)).all()
    assert crowds > 0


def test_category_ids_stay_where_asked(make):
    names = ('N/A', 'N/A', 'cat', *['N/A'] * 6, 'dog')
    dataset = make(keep_category_ids=True)
    assert dataset.metainfo == {'classes': names, 'category_ids': tuple(range(10))}
    assert dataset.records[1].annotations.labels.tolist() == [9, 2]
    more = make(keep_category_ids=True, metainfo={'classes': (*names, 'bird')})
    assert more.metainfo['classes'] == (*names, 'bird') and more.metainfo['category_ids'] == tuple(range(11))
    single = make(keep_category_ids=True, single_class=True)
    assert single.metainfo['classes'] == ('object',)
    with pytest.raises(DataError, match="category 9 'dog', but class 9 of metainfo is 'hound'"):
        make(keep_category_ids=True, metainfo={'classes': (*names[:9], 'hound')})
    with pytest.raises(DataError, match="category 2 'cat', but class 2 of metainfo is None"):
        make(keep_category_ids=True, metainfo={'classes': ('cat', 'dog')})
    with pytest.raises(DataError, match='no whole number'):
        make(lambda c: [entry.update(id=-1) for entry in c['categories'][:1]], keep_category_ids=True)


def test_classes_of_detr_are_those_of_the_config(repo):
    config = load_config(repo / 'configs' / 'detr' / 'det_coco.py')
    assert config.classes == COCO91 and len(COCO91) == 91
    assert [i for i, name in enumerate(COCO91) if name != 'N/A'] == list(COCO_CATEGORY_IDS)


def test_run_lengths_are_plain_characters(make):
    """A text that has another character where a bitmap has '?' is broken, and not that bitmap."""
    mask = np.zeros((10, 20), np.uint8)
    mask.T.flat[15:31] = mask.T.flat[46:61] = 1  # 15 is written as '?'
    rle = mask_utils.encode(np.asfortranarray(mask))
    text = rle['counts'].decode()
    assert '?' in text

    def counts_of(counts):
        return lambda content: content['annotations'][1].update(segmentation={'size': [10, 20], 'counts': counts})

    assert (mask_utils.decode(make(counts_of(text)).records[0].annotations.rles[0]) == mask).all()
    skipped = make(counts_of(text.replace('?', 'é'))).skipped
    assert [skip.reason for skip in skipped] == [
        'a segmentation that is a broken bitmap: its run lengths do not make up its size'
    ]


def test_two_categories_of_one_name_are_refused_where_both_have_objects(make):
    def rename(content):
        content['categories'] += [{'id': 11, 'name': 'dog'}]
        content['annotations'].append({'id': 4, 'image_id': 5, 'category_id': 11, 'bbox': [0, 0, 4, 4]})

    with pytest.raises(DataError, match="objects of the categories 9 and 11, both of the name 'dog'. .*class_map"):
        make(rename)
    assert make(rename, metainfo={'classes': ('cat',)}).metainfo['classes'] == ('cat',)
    assert make(rename, single_class=True).metainfo['classes'] == ('object',)
    with pytest.raises(DataError, match="names the class 'dog' more than once"):
        make(rename, keep_category_ids=True)


@pytest.mark.parametrize(
    ('options', 'ids'),
    [
        (dict(class_map={'cat': 'puss'}), (2, 9)),
        (dict(class_map={'cat': None}), (9,)),
        (dict(class_map={'cat': 'dog'}), None),
        (dict(metainfo={'classes': ('dog', 'cat')}, class_map={'cat': 'puss'}), (9, 2)),
        (dict(single_class=True), None),
    ],
)
def test_ids_of_categories_follow_renamed_classes(make, options, ids):
    assert make(**options).metainfo.get('category_ids') == ids


def test_a_category_without_objects_does_not_count(make):
    """As the root of the classes that some tools write, which may have the name of a class."""
    dataset = make(lambda content: content['categories'].insert(0, {'id': 0, 'name': 'dog'}))
    assert dataset.metainfo['classes'] == ('dog', 'cat') and dataset.metainfo['category_ids'] == (9, 2)
    assert not [skip for skip in dataset.unused if 'dog' in skip.reason]


def test_masks_of_outlines_are_those_of_the_file(make):
    rng = np.random.default_rng(0)

    def outlines_in_tenths(content):
        content['annotations'] = []
        for number in range(60):
            angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
            ring = np.array([10, 5]) + np.stack([9 * np.cos(angles), 4 * np.sin(angles)], 1) * rng.uniform(0.5, 1)
            ring = ring.round(1)  # where pycocotools rounds
            corner, side = ring.min(0), np.ptp(ring, 0)
            content['annotations'].append(
                {
                    'id': number + 1,
                    'image_id': IDS[number % 3],
                    'category_id': 9,
                    'bbox': [*corner.tolist(), *side.tolist()],
                    'area': 9,
                    'segmentation': [ring.ravel().tolist()],
                }
            )

    dataset = make(outlines_in_tenths)
    truth = COCO(Path(dataset.data_root) / 'instances.json')
    for record in dataset.records:
        own = coco_segmentations(record.annotations)
        assert len(own) == 20
        for segmentation, annotation in zip(own, truth.imgToAnns[record.img_id], strict=True):
            assert segmentation == annotation['segmentation']
            assert segmentation_to_rle(segmentation, np.zeros(4), (10, 20)) == truth.annToRLE(annotation)
