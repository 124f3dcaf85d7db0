"""COCO files as tools and scripts write them: ids, types, outlines, bitmaps and sizes that are not COCO's."""

import codecs
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from format_helpers import write_image
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO

from detkit.datasets import CocoDataset, VOCDataset
from detkit.datasets.formats import coco_images, coco_json
from detkit.datasets.formats.coco_rle import measure_rles
from detkit.datasets.formats.coco_segmentations import read_rings
from detkit.datasets.image_files import image_id_of
from detkit.datasets.transforms.scene_objects import place_objects
from detkit.evaluation.coco_format import result_entries
from detkit.structures.scene import Scene
from detkit.utils.errors import DataError

BOX = [2, 1, 4, 5]
RING = [2, 1, 6, 1, 6, 6]


def content_of(count=3):
    """Return ``count`` images with an object each."""
    return {
        'images': [{'id': i, 'file_name': f'{i}.png', 'height': 10, 'width': 20} for i in range(1, count + 1)],
        'annotations': [
            {'id': i, 'image_id': i, 'category_id': 1, 'bbox': BOX, 'segmentation': [RING]} for i in range(1, count + 1)
        ],
        'categories': [{'id': 1, 'name': 'bolt'}],
    }


@pytest.fixture
def load(tmp_path):
    def _load(content, **options):
        listed = content.get('images') if isinstance(content, dict) else None
        for i in range(1, 1 + max(3, len(listed) if isinstance(listed, list) else 0)):
            write_image(tmp_path / 'img' / f'{i}.png', 20, 10)
        text = content if isinstance(content, bytes | str) else json.dumps(content)
        (tmp_path / 'a.json').write_bytes(text if isinstance(text, bytes) else text.encode())
        return CocoDataset('a.json', 'img', data_root=str(tmp_path), **options)

    return _load


def counts(dataset):
    return [len(record.annotations) for record in dataset.records]


def rings(dataset):
    return [record.annotations.polygons.ring_sizes.tolist() for record in dataset.records]


@pytest.mark.parametrize('make', [str, float, lambda i: f'{i:04d}', lambda i: f'frame_{i}', lambda i: 10**30 + i])
def test_ids_of_any_kind_are_kept(load, make):
    content = content_of()
    for image, annotation in zip(content['images'], content['annotations'], strict=True):
        image['id'] = annotation['image_id'] = make(image['id'])
        annotation['id'] = make(annotation['id'])
        annotation['category_id'] = make(1)
    content['categories'][0]['id'] = make(1)
    dataset = load(content)
    ids = [record.img_id for record in dataset.records]
    assert ids == [make(i) for i in (1, 2, 3)] and all(type(own) is type(make(1)) for own in ids)
    assert dataset.metainfo['category_ids'] == (make(1),) and counts(dataset) == [1, 1, 1] and not dataset.skipped


@pytest.mark.parametrize('image_id, category_id', [('0001', 7), ('1', 'bolt'), (1, 2), (1.5, 3.0), ('frame_2', '01')])
def test_results_carry_the_ids_of_the_file(tmp_path, image_id, category_id):
    entries = result_entries(image_id, np.array([[1, 2, 5, 8]]), [0], [0.5], None, [category_id])
    (tmp_path / 'r.json').write_text(json.dumps(entries))
    truth = COCO()
    truth.dataset = {'images': [{'id': image_id}], 'annotations': [], 'categories': [{'id': category_id}]}
    truth.createIndex()
    ((_, entry),) = truth.loadRes(str(tmp_path / 'r.json')).anns.items()
    assert (entry['image_id'], entry['category_id']) == (image_id, category_id) and entry['bbox'] == [1, 2, 4, 6]
    assert type(entry['image_id']) is type(image_id) and type(entry['category_id']) is type(category_id)


def test_a_fraction_that_is_whole_is_the_number(load):
    content = content_of()
    content['annotations'][1]['image_id'] = 2.0
    assert counts(load(content)) == [1, 1, 1]


def test_ids_of_different_types_are_shown_with_them(load):
    content = content_of()
    for annotation in content['annotations']:
        annotation['image_id'] = str(annotation['image_id'])
    with pytest.raises(DataError, match=r"image_id '1' \(text\) is not .* whose ids are whole numbers, such as 1"):
        load(content)
    content['annotations'] = [{**entry, 'category_id': '1'} for entry in content_of()['annotations']]
    with pytest.raises(DataError, match=r"category_id '1' \(text\) .* whose ids are whole numbers, such as 1"):
        load(content)


@pytest.mark.parametrize('value', [[1], {'a': 1}, None, True, float('nan'), float('inf')])
@pytest.mark.parametrize('key', ['image_id', 'category_id', 'id'])
def test_what_is_no_id_costs_its_entry(load, key, value):
    content = content_of()
    content['annotations'][1][key] = value
    dataset = load(content)
    assert counts(dataset) == ([1, 1, 1] if key == 'id' else [1, 0, 1])
    assert len(dataset.skipped) == (0 if key == 'id' else 1)
    if key == 'image_id':
        assert dataset.skipped[0].where.startswith('annotation 2 of image')
    content = content_of()
    content['images'][1]['id'] = value
    dataset = load(content, max_skipped=1.0)
    assert [record.img_id for record in dataset.records] == [1, 3] and len(dataset.skipped) == 2


@pytest.mark.parametrize('entry', [1, None, [], 'text', [[]]])
def test_an_entry_that_is_no_mapping_is_left_out_alone(load, entry):
    for key in ('images', 'annotations'):
        content = content_of()
        content[key].append(entry)
        dataset = load(content)
        assert counts(dataset) == [1, 1, 1] and len(dataset.skipped) == 1


@pytest.mark.parametrize('side', [-1, 0, '48px', '10', float('inf'), float('nan'), {}, [10], None, True, 1e300, 10.5])
def test_a_size_that_is_none_is_read_from_the_image(load, side):
    content = content_of()
    content['images'][1]['height'] = side
    dataset = load(content)
    assert dataset.records[1].ori_shape == (10, 20) and not dataset.skipped


@pytest.mark.parametrize('few', [True, False])
def test_sizes_are_compared_when_the_file_is_read(load, tmp_path, monkeypatch, few):
    """Also where only a sample is looked at: one wrong size in it has all of them compared."""
    if not few:
        monkeypatch.setattr(coco_images, '_FEW_IMAGES', 2)
        monkeypatch.setattr(coco_images, '_SAMPLE', 1)
    write_image(tmp_path / 'img' / '1.jpg', 20, 10, orientation=6)
    content = content_of()
    content['images'][0]['file_name'] = '1.jpg'
    content['images'][2]['height'] = 11
    dataset = load(content, max_skipped=1.0)
    assert [record.img_id for record in dataset.records] == [2]
    first, second = dataset.skipped
    assert first.path.endswith('1.jpg') and 'EXIF orientation 6' in first.reason
    assert 'is 20x10 pixels, but its annotations say 20x11' in second.reason
    with pytest.raises(DataError, match='EXIF orientation 6'):
        load(content)


@pytest.mark.parametrize(
    ('segmentation', 'sizes', 'odd'),
    [
        (RING, [3], 0),
        ([[*RING]], [3], 0),
        ([[1.5, 1, 6, 1, 6, 6.25, 3, 3]], [4], 0),
        ([[2, 1, 6, 1]], [], 1),
        ([[5, 5, 5, 5, 5, 5]], [], 1),
        ([[2, 1, 6, 1, 4, 1]], [], 1),
        ([RING, [2, 1, 2, 5, 2, 9]], [3], 1),
        ({'size': [10, 20], 'counts': [200]}, [], 1),
        ([[*RING, 7]], [], 1),
        ([[]], [], 1),
        ([RING, []], [3], 1),
        ([RING, [2, 1, 6, 1]], [3], 1),
        ([RING, RING[:5] + ['6']], [3], 1),
        ([RING, 5], [3], 1),
        ([RING, [*RING, [1, 2]]], [3], 1),
        ([[[2, 1], [6, 1], [6, 6]]], [3], 0),
        ([[2, 1], [6, 1], [6, 6]], [3], 0),
        ([[2, 1], [6, 1]], [], 1),
        ([RING, [2, 1], [6, 1], [6, 6]], [3], 1),
        ([[RING, RING]], [3, 3], 0),
        ([RING, [[2, 1], [6, 1], [6, 6], [2, 6]]], [3, 4], 0),
        ([[[[2, 1], [6, 1], [6, 6]]]], [], 1),
        ([[1, [2]], 3], [], 1),
        ([RING, RING[:5] + [float('nan')]], [3], 1),
        ([RING, RING[:5] + [float('inf')]], [3], 1),
        ([RING, RING[:5] + [10**400]], [3], 1),
        ([RING, RING[:5] + [None]], [3], 1),
        ('text', [], 1),
        (7, [], 1),
        ([], [], 0),
        (None, [], 0),
        ('', [], 0),
    ],
)
def test_an_odd_outline_costs_the_ring_and_not_the_box(load, segmentation, sizes, odd):
    content = content_of()
    content['annotations'][1]['segmentation'] = segmentation
    dataset = load(content)
    assert counts(dataset) == [1, 1, 1] and not dataset.skipped
    assert rings(dataset) == [[3], sizes, [3]]
    assert [skip.where for skip in dataset.unused] == ['annotation 2 of image 2'] * odd


AROUND = [-9, -9, 40, -9, 40, -5, -5, -5, -5, 40, -9, 40]  # round the image's corner, from outside


@pytest.mark.parametrize('outside', [[30, 1, 34, 1, 34, 6], [-9, 1, -5, 1, -5, 6], [20, 1, 24, 1, 24, 6], AROUND])
def test_an_outline_outside_its_image_costs_the_outline_and_not_the_object(load, outside):
    content = content_of()
    content['annotations'][0]['segmentation'] = [outside]
    content['annotations'][1]['segmentation'] = [RING, outside, RING]
    content['annotations'][2]['segmentation'] = [[-2, -1, 30, -1, 30, 12, -2, 12]]  # all of the image is inside
    content['annotations'][2]['bbox'] = [0, 0, 20, 10]
    dataset = load(content)
    assert counts(dataset) == [1, 1, 1] and rings(dataset) == [[], [3, 3], [4]] and not dataset.skipped
    assert [skip.where for skip in dataset.unused] == ['annotation 1 of image 1', 'annotation 2 of image 2']
    assert all('of which nothing lies inside the image' in skip.reason for skip in dataset.unused)
    scene = Scene.of_image(np.zeros((10, 20, 3), np.uint8), dataset.records[0].annotations)
    assert place_objects(scene).annotations.bboxes.tolist() == [[2, 1, 6, 6]]  # it is learnt by its box


OTHER = (
    'a bbox that is far from the box around its outline (IoU below 0.5): training takes the latter, metrics the former'
)


def test_a_box_that_disagrees_with_what_is_drawn_is_named(load):
    content = content_of(5)
    content['annotations'][1]['bbox'] = [8, 1, 4, 5]  # beside its outline
    content['annotations'][2] |= {'bbox': [8, 1, 4, 5], 'segmentation': {'size': [10, 20], 'counts': [11, 5, 184]}}
    content['annotations'][3] |= {'bbox': [8, 1, 4, 5], 'iscrowd': 1}
    content['annotations'][4] |= {'bbox': [15, 1, 8, 5], 'segmentation': []}  # 3 px beyond the image
    dataset = load(content)
    found = [(skip.where, skip.reason) for skip in dataset.unused]
    beyond = 'a box that reaches beyond the image: the part inside is used'
    assert found == [(f'annotation {i} of image {i}', reason) for i, reason in ((5, beyond), (2, OTHER), (3, OTHER))]
    assert counts(dataset) == [1] * 5 and not dataset.skipped


@pytest.mark.parametrize('bbox', [{}, {'bbox': None}, {'bbox': []}])
def test_an_object_without_a_box_has_that_of_its_outline(load, bbox):
    content = content_of(5)
    bitmap = {'size': [10, 20], 'counts': [11, 5, 5, 3, 176]}  # column 1 from row 1, column 2 from row 1
    drawn = [[RING], [RING, [7, 8, 9, 8, 9, 9]], bitmap, bitmap]
    for entry, segmentation in zip(content['annotations'], drawn, strict=False):
        entry.pop('bbox')
        entry |= {'segmentation': segmentation, **bbox}
    content['annotations'][3]['iscrowd'] = 1
    content['annotations'][4] |= {'segmentation': [], 'bbox': None}
    dataset = load(content)
    boxes = [record.annotations.bboxes.tolist() for record in dataset.records]
    assert boxes == [[[2, 1, 6, 6]], [[2, 1, 9, 9]], [[1, 1, 3, 6]], [[1, 1, 3, 6]], []]
    reason = 'no bbox: the box around its outline or bitmap is used'
    assert [(skip.where, skip.reason) for skip in dataset.unused] == [
        (f'annotation {i} of image {i}', reason) for i in (1, 2, 3, 4)
    ]
    assert [skip.reason for skip in dataset.skipped] == ['bbox None is not four finite numbers x, y, w, h']


@pytest.mark.parametrize('outlined', [True, False])
def test_boxes_that_are_two_corners_are_refused(load, outlined):
    content = content_of(12)
    for i, entry in enumerate(content['annotations']):
        x, y = 5 + i % 6, 2 + i % 3
        ring = [x, y, x + 6, y, x + 6, y + 6, x, y + 6]
        entry |= {'bbox': [x, y, x + 6, y + 6], 'segmentation': [ring] if outlined else []}
    reason = (
        'bbox [5, 2, 11, 8] is x0, y0, x1, y1 of its outline, not x'
        if outlined
        else 'bbox [5, 2, 11, 8] has the third number above the first .*: x0, y0, x1, y1 in place'
    )
    with pytest.raises(DataError, match=reason.replace('[5, 2, 11, 8]', r'\[5.0, 2.0, 11.0, 8.0\]')):
        load(content)
    for entry in content['annotations']:
        x, y, x1, y1 = entry['bbox']
        entry['bbox'] = [x, y, x1 - x, y1 - y]
    assert counts(load(content)) == [1] * 12


def test_rings_across_objects_keep_their_owners():
    texts = [b'[]', b'[[1,2,3,4,5,6],[1,2,3,4,5,6,7,8]]', b'null', b'{"size":1}', b'[ [9, 8, 7,\n 6, 5, 4] ]']
    found = read_rings(texts)
    assert found.owners.tolist() == [1, 1, 4] and found.sizes.tolist() == [3, 4, 3] and not found.odd.any()
    assert found.points[-3:].tolist() == [[9, 8], [7, 6], [5, 4]]
    assert read_rings([]).points.shape == (0, 2)


def test_masks_without_an_outline_are_named_where_masks_are_drawn(load):
    content = content_of()
    content['annotations'][0].pop('segmentation')
    drawn = load(content, pipeline=[dict(type='Render', with_masks=True)])
    [skip] = drawn.unused
    assert skip[1:3] == ('an annotation of image 1', 'an object without an outline: its mask is its box')
    assert load(content).unused == []


def rle(**changes):
    bitmap = np.zeros((10, 20), np.uint8, order='F')
    bitmap[2:7, 3:9] = 1
    return {'size': [10, 20], 'counts': mask_utils.encode(bitmap)['counts'].decode(), **changes}


@pytest.mark.parametrize(
    'change',
    [
        {'counts': 'UW3j'},
        {'counts': ''},
        {'counts': 'é'},
        {'counts': '~~~'},
        {'counts': rle()['counts'][:-1]},
        {'counts': rle()['counts'] + '5'},
        {'counts': [0, 200, 5]},
        {'counts': [-5, 205]},
        {'counts': [10**30, 1]},
        {'counts': [1.5, 198.5]},
        {'counts': None},
        {'counts': {}},
        {'size': [20, 10]},
        {'size': [10]},
        {'size': [-10, -20]},
        {'size': ['10', '20']},
        {'size': [1 << 40, 1 << 40]},
    ],
)
def test_a_broken_bitmap_is_found_when_the_file_is_read(load, change):
    content = content_of()
    content['annotations'][1]['segmentation'] = rle(**change)
    dataset = load(content)
    assert counts(dataset) == [1, 0, 1]
    (skip,) = dataset.skipped
    assert skip.where == 'annotation 2 of image 2' and 'bitmap' in skip.reason


def test_outlines_and_bitmaps_of_both_kinds_in_one_file(load):
    content = content_of()
    content['annotations'][0] |= {'segmentation': rle(), 'iscrowd': 1}
    content['annotations'][2]['segmentation'] = {'size': [10, 20], 'counts': [0, 20, 180]}
    first, second, third = (record.annotations for record in load(content).records)
    assert first.rles[0]['counts'].decode() == rle()['counts'] and first.areas[0] == 30 and first.ignored[0]
    assert second.rles == [None] and second.polygons.ring_sizes.tolist() == [3]
    assert mask_utils.area(third.rles[0]) == 20 == third.areas[0]


def test_run_lengths_are_measured_as_pycocotools_does():
    rng = np.random.default_rng(0)
    bitmaps = [np.zeros((7, 5)), np.ones((1, 1)), *(rng.random(rng.integers(1, 50, 2)) < p for p in rng.random(60))]
    encoded = [mask_utils.encode(np.asfortranarray(bitmap.astype(np.uint8)))['counts'] for bitmap in bitmaps]
    totals, areas = measure_rles(encoded)
    assert totals.tolist() == [bitmap.size for bitmap in bitmaps]
    assert areas.tolist() == [int(bitmap.sum()) for bitmap in bitmaps]
    totals, _ = measure_rles([b'', b'UW3j', encoded[5], b'\x00', b'o' * 40 + b'0', b'P'])
    assert (totals >= 0).tolist() == [False, False, True, False, False, False]
    assert measure_rles([])[0].shape == (0,)


@pytest.mark.parametrize('crowd', [1, True, '1', 'true', 2.0])
def test_crowds(load, crowd):
    content = content_of()
    content['annotations'][1]['iscrowd'] = crowd
    content['annotations'][2]['iscrowd'] = '0'
    assert [bool(record.annotations.ignored[0]) for record in load(content).records] == [False, True, False]


def test_images_that_repeat(load):
    content = content_of()
    content['images'] += [dict(content['images'][0]), {**content['images'][1], 'id': 9}]
    content['annotations'] += [
        {'id': 8, 'image_id': 9, 'category_id': 1, 'bbox': BOX, 'segmentation': [RING]},
        {'id': 9, 'image_id': 9, 'category_id': 1, 'bbox': [1, 1, 3, 3]},
    ]
    dataset = load(content)
    assert [record.img_id for record in dataset.records] == [1, 2, 3] and not dataset.skipped
    assert counts(dataset) == [1, 2, 1]  # the second list's own object is kept, and the one in both counts once
    assert [skip.where for skip in dataset.unused] == ['image 1', 'image 9', 'annotation 8 of image 9']


def test_classes_that_are_not_asked_for_are_counted_by_class(load):
    content = content_of()
    content['categories'] += [{'id': 2, 'name': 'nut'}, {'id': 3, 'name': 'cap'}]
    content['annotations'][1]['category_id'] = 2
    content['annotations'][2]['category_id'] = 3
    dataset = load(content, metainfo={'classes': ('bolt',)})
    assert [(skip.where, skip.count) for skip in dataset.unused] == [("class 'cap'", 1), ("class 'nut'", 1)]
    assert counts(dataset) == [1, 0, 0] and not dataset.skipped


def test_names_that_are_numbers_are_text(load):
    content = content_of()
    content['categories'] = [{'id': 1, 'name': 7}, {'id': 2, 'name': 'root'}]
    dataset = load(content)
    assert dataset.metainfo['classes'] == ('7', 'root')
    assert [skip.where for skip in dataset.unused] == ["class 'root'"]
    assert CocoDataset.peek(dict(data_root=dataset.data_root, ann_file='a.json'))['classes'] == ('7', 'root')
    assert load(content, metainfo={'classes': (7,)}).metainfo['classes'] == ('7',)
    with pytest.raises(DataError, match="'nut' of metainfo is not among the 2 .* '7', 'root'.* classes=None takes"):
        load(content, metainfo={'classes': ('nut',)})


@pytest.mark.parametrize('category', [{'id': 1}, {'name': 'a'}, {'id': [1], 'name': 'a'}, {'id': 1, 'name': ['a']}, 5])
def test_categories_without_id_or_name(load, category):
    content = content_of()
    content['categories'].append(category)
    with pytest.raises(DataError, match='category 1 .*no id or no name'):
        load(content)


@pytest.mark.parametrize(
    'encode',
    [
        lambda text: codecs.BOM_UTF8 + text.encode(),
        lambda text: text.encode('utf-16'),
        lambda text: text.encode('utf-32'),
        lambda text: text.replace(', ', ' ,\r\n\t').encode(),
    ],
)
def test_encodings_and_blanks(load, encode):
    dataset = load(encode(json.dumps(content_of())))
    assert counts(dataset) == [1, 1, 1] and rings(dataset) == [[3]] * 3
    assert CocoDataset.peek(dict(data_root=dataset.data_root, ann_file='a.json'))['classes'] == ('bolt',)


@pytest.mark.parametrize(
    'text',
    [
        b'\xff\xff',
        b'{"images": [], "annotations": [\xff], "categories": []}',
        b'[' * 100_000,
        b'{"images": [], "annotations": [' + b'[' * 100_000,
        b'{"images": [], "annotations": [' + b'1' * 5000 + b'], "categories": []}',
        b'{"images": [], "annotations": [{}, {}, "categories": []}',
        b'{"images": 5, "annotations": [], "categories": []}',
        b'{"annotations": [{}]',
        b'null',
    ],
)
def test_what_is_no_such_file_is_named(load, text):
    with pytest.raises(DataError, match=r'a\.json'):
        load(text)


@pytest.mark.parametrize(
    'shape', ['nested', 'twice', 'last', 'first', 'lists in entries', 'other keys', 'not a number']
)
def test_a_file_in_blocks_is_the_file_as_a_whole(load, monkeypatch, shape):
    """Blocks of a few bytes, cut wherever braces and brackets look like the end of an entry."""
    content = content_of()
    content['annotations'] = [
        {**content['annotations'][i % 3], 'id': i, 'bbox': [1, 1, 1 + i % 7, 2 + i % 5]} for i in range(200)
    ]
    if shape == 'nested':
        content = {'info': {'annotations': [{'id': 5}]}, **content}
    elif shape == 'twice':
        content['info'] = 'the "annotations": [{}, {}]'
    elif shape == 'last':
        content['images'] = content.pop('images')
    elif shape == 'first':
        content = {'annotations': content.pop('annotations'), **content}
    elif shape == 'lists in entries':
        for annotation in content['annotations'][::3]:
            annotation['attributes'] = [{'id': 1}, {'id': 2, 'text': '}, {"id": 3}], "'}]
    elif shape == 'other keys':
        content['annotations'] = [dict(reversed(annotation.items())) for annotation in content['annotations']]
    else:
        content['annotations'][150]['area'] = float('nan')
    whole = load(content)
    monkeypatch.setattr(coco_json, '_BLOCK_BYTES', 300)
    monkeypatch.setattr(coco_json, '_BLOCK_ENTRIES', 7)
    blocks = load(content)
    assert counts(whole) == counts(blocks) and sum(counts(whole)) > 90 and whole.skipped == blocks.skipped
    assert whole.unused == blocks.unused
    for own, other in zip(whole.records, blocks.records, strict=True):
        np.testing.assert_array_equal(own.annotations.bboxes, other.annotations.bboxes)
        np.testing.assert_array_equal(own.annotations.polygons.points, other.annotations.polygons.points)


def test_thousands_of_faults_are_counted_without_being_listed(load):
    content = content_of()
    content['annotations'] += [{'id': i, 'image_id': 77, 'category_id': 1, 'bbox': BOX} for i in range(3000)]
    dataset = load(content, max_skipped=1.0)
    assert sum(skip.count for skip in dataset.skipped) == 3000 and len(dataset.skipped) < 1100


def test_ids_by_names_of_files():
    assert [image_id_of(f'a/{name}.jpg') for name in ('36', '000000000036', '0036', 'x', '007_b', '²')] == [
        36, 36, '0036', 'x', '007_b', '²',
    ]  # fmt: skip


EXPECTED = {
    '16-coco-via/flat': '',
    '16-coco-via/size': '',
    '16-coco-via/strid': "image_id '1' (text)",
    '17-coco-string-ids': '',
    '18-coco-rle-mix/good': '',
    '18-coco-rle-mix/short': 'annotation 3 of image 2: a segmentation that is a broken bitmap',
    '18-coco-rle-mix/swapped': 'annotation 2 of image 1: a segmentation that is a bitmap of the size [128, 96]',
    '18-coco-rle-mix/total': 'annotation 2 of image 1: a segmentation that is a broken bitmap',
    '22-coco-odd-segmentation/empty': '',
    '22-coco-odd-segmentation/emptyring': 'a ring of an outline',
    '22-coco-odd-segmentation/missing': '',
    '22-coco-odd-segmentation/null': '',
    '22-coco-odd-segmentation/odd': 'a ring of an outline',
    '22-coco-odd-segmentation/some_empty': '',
    '22-coco-odd-segmentation/two': 'a ring of an outline',
    '23-coco-roboflow-gaps/gaps': '',
    '23-coco-roboflow-gaps/gaps_order': '',
    '23-coco-roboflow-gaps/intnames': '',
    '23-coco-roboflow-gaps/root': 'no object to learn from',
    '24-coco-bom': '',
    '25-exif/stored': 'EXIF orientation 6',
    '25-exif/upright': '',
}


@pytest.mark.realdata
@pytest.mark.parametrize('name', EXPECTED)
def test_reported_files(real_data, name):
    folder = real_data / 'reports' / name
    if not folder.is_dir():
        pytest.skip(f'no {folder}')
    if name == '25-exif/stored':  # none of its images is left
        with pytest.raises(DataError, match=EXPECTED[name]):
            CocoDataset('train.json', 'train', data_root=str(folder))
        return
    dataset = CocoDataset('train.json', 'train', data_root=str(folder), max_skipped=1.0)
    found = [f'{skip.where}: {skip.reason}' for skip in (*dataset.skipped, *dataset.unused)]
    assert any(EXPECTED[name] in line for line in found) if EXPECTED[name] else not found
    broken = sum(skip.count for skip in dataset.skipped)
    assert sum(counts(dataset)) == 8 - broken and all(record.ori_shape == (96, 128) for record in dataset.records)
    content = json.loads(Path(folder / 'train.json').read_text(encoding='utf-8-sig'))
    assert [record.img_id for record in dataset.records] == [image['id'] for image in content['images']]


@pytest.mark.parametrize('kind', ['coco', 'voc'])
def test_the_folder_of_images_is_what_to_correct_where_none_is_there(tmp_path, kind):
    for name in ('a.jpg', 'b.jpg'):
        write_image(tmp_path / 'pictures/2024' / name, 20, 10)
    (tmp_path / 'JPEGImages').mkdir()
    if kind == 'coco':
        images = [dict(id=i, file_name=f'{name}.jpg', width=20, height=10) for i, name in enumerate('ab')]
        content = dict(images=images, annotations=[], categories=[dict(id=1, name='nut')])
        (tmp_path / 'a.json').write_text(json.dumps(content))
        make = partial(CocoDataset, 'a.json', 'JPEGImages')
    else:
        (tmp_path / 'Annotations').mkdir()
        for name in 'ab':
            (tmp_path / 'Annotations' / f'{name}.xml').write_text('<annotation><object/></annotation>')
        make = VOCDataset
    key = 'img_prefix .in most configs train_images or val_images.' if kind == 'coco' else 'images'
    reason = f"Most are images that do not exist. Correct {key}, .*'a.jpg' is in 'pictures/2024'"
    with pytest.raises(DataError, match=reason):
        make(data_root=str(tmp_path))
