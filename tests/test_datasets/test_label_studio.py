"""Label Studio's exports: what is read, what is left out alone, what is refused."""

import json

import numpy as np
import pytest
from format_helpers import write_image
from fuzz_strategies import AMOUNTS, damaged, replaced, run_fuzz, values
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from shape_checks import check_sound, reasons, records_by_name, write_json

from detkit.datasets import LabelStudioDataset
from detkit.datasets.formats.label_studio import decode_brush
from detkit.datasets.formats.shapes import EntryError
from detkit.utils.errors import DataError


def region(kind, value, label='nut', own_id='r1', **more):
    return {
        'id': own_id,
        'type': f'{kind}labels',
        'value': {f'{kind}labels': [label], **value},
        'original_width': 20,
        'original_height': 10,
        'image_rotation': 0,
        'from_name': 'label',
        'to_name': 'image',
        **more,
    }


def rectangle(x, y, w, h, rotation=0, **more):
    value = dict(zip(('x', 'y', 'width', 'height', 'rotation'), (x, y, w, h, rotation), strict=True))
    return region('rectangle', value, **more)


def task(*results, image='/data/upload/1/0123abcd-a.png', **more):
    annotation = {'id': 1, 'was_cancelled': False, 'result': list(results)}
    return {'id': 7, 'data': {'image': image}, 'annotations': [annotation], **more}


def read(root, *results, **options):
    write_image(root / 'images/a.png', 20, 10)
    write_json(root / 'export.json', [task(*results)])
    dataset = LabelStudioDataset('export.json', data_root=str(root), images='images', **{'max_skipped': 1, **options})
    check_sound(dataset)
    return dataset, dataset.records[0].annotations


def encode_brush(mask, runs):
    """Pack the RGBA picture of ``mask`` by ``runs``: (repeated, number of words)."""
    rgba = np.zeros((*mask.shape, 4), np.uint8)
    rgba[..., 3] = mask * 255
    words, start = rgba.ravel(), 0
    bits = f'{len(words):032b}{7:05b}' + ''.join(f'{width - 1:04b}' for width in (3, 4, 8, 16))
    for repeated, length in runs:
        place = next(i for i, width in enumerate((3, 4, 8, 16)) if length <= 1 << width)
        bits += f'{repeated:b}{place:02b}' + f'{length - 1:0{(3, 4, 8, 16)[place]}b}'
        own = words[start : start + length]
        assert not repeated or len(set(own.tolist())) == 1
        bits += ''.join(f'{word:08b}' for word in own[: 1 if repeated else length])
        start += length
    assert start == len(words)
    return np.packbits([int(bit) for bit in bits]).tolist()


MASK = np.zeros((10, 20), bool)
MASK[2:5, 3:7] = True
BEFORE, AFTER = 4 * (2 * 20 + 3), 4 * (5 * 20 + 13)
BRUSH = encode_brush(MASK, [(1, BEFORE), (0, 800 - BEFORE - AFTER), (1, AFTER)])


def test_rectangles_polygons_and_ellipses_are_in_percent(tmp_path):
    dataset, annotations = read(
        tmp_path,
        rectangle(10, 20, 30, 40),
        region('polygon', {'points': [[10, 10], [40, 10], [10, 50]]}, 'bolt', 'r2'),
        region('ellipse', {'x': 50, 'y': 50, 'radiusX': 20, 'radiusY': 20, 'rotation': 0}, 'bolt', 'r3'),
    )
    assert dataset.metainfo['classes'] == ('bolt', 'nut') and annotations.labels.tolist() == [1, 0, 0]
    np.testing.assert_allclose(annotations.bboxes, [[2, 2, 8, 6], [2, 1, 8, 5], [6, 3, 14, 7]], atol=1e-5)
    np.testing.assert_allclose(annotations.areas, [24, 12, 8 * np.pi], rtol=2e-3)
    assert not dataset.skipped and not dataset.unused
    cfg = dict(data_root=str(tmp_path), ann_file='export.json')
    assert LabelStudioDataset.peek(cfg) == {'classes': ('bolt', 'nut')}


def test_a_rectangle_turns_clockwise_around_its_corner(tmp_path):
    _, annotations = read(tmp_path, rectangle(50, 20, 20, 20, 90))
    np.testing.assert_allclose(annotations.bboxes, [[8, 2, 10, 6]], atol=1e-5)
    _, annotations = read(tmp_path, rectangle(50, 20, 20, 20, 30), rectangle(0, 0, 20, 20, own_id='r2'), rotated=True)
    np.testing.assert_allclose(annotations.rbboxes[0, 2:], [4, 2, np.pi / 6], atol=1e-5)
    np.testing.assert_allclose(annotations.rbboxes[1], [2, 1, 4, 2, 0], atol=1e-5)


def test_brushes(tmp_path):
    _, annotations = read(tmp_path, region('brush', {'format': 'rle', 'rle': BRUSH}))
    assert (coco_mask.decode(annotations.rles[0]) == MASK).all()
    assert annotations.bboxes.tolist() == [[3, 2, 7, 5]] and annotations.areas.tolist() == [12]
    rng = np.random.default_rng(0)
    for _ in range(5):
        mask = rng.random((10, 20)) > 0.5
        lengths = rng.integers(1, 100, 40)
        lengths = lengths[np.cumsum(lengths) < 800]
        packed = encode_brush(mask, [*((0, int(length)) for length in lengths), (0, 800 - int(lengths.sum()))])
        assert (decode_brush(bytes(packed), (10, 20)) == mask).all()


def test_labels_may_be_a_result_of_their_own(tmp_path):
    box = rectangle(10, 20, 30, 40)
    box['type'], labels = 'rectangle', {**box, 'type': 'labels', 'value': {'labels': ['bolt']}}
    del box['value']['rectanglelabels']
    choice = {**box, 'type': 'choices', 'value': {'choices': ['rusty']}}
    relation = {'type': 'relation', 'from_id': 'r1', 'to_id': 'r2'}
    for results in ((box, labels, choice), (labels, choice, box, relation)):
        dataset, annotations = read(tmp_path, *results)
        assert annotations.bboxes.tolist() == [[2, 2, 8, 6]] and dataset.metainfo['classes'] == ('bolt',)
        assert not dataset.skipped and {skip.reason for skip in dataset.unused} <= {
            "a result of the type 'choices', which is no object",
            "a result of the type 'relation', which is no object",
        }
        assert len(dataset.unused) == len(results) - 2


def test_a_region_of_several_labels_is_an_object_of_each(tmp_path):
    box = rectangle(10, 20, 30, 40)
    box['value']['rectanglelabels'] = ['nut', 'bolt', 'nut', 5]
    eye = region('keypoint', {'x': 10, 'y': 20, 'width': 1}, 'eye', 'k1', parentID='r1')
    dataset, annotations = read(tmp_path, box, eye, keypoints=True)
    assert dataset.metainfo['classes'] == ('bolt', 'nut') and annotations.labels.tolist() == [1, 0]
    assert annotations.bboxes.tolist() == [[2, 2, 8, 6]] * 2 and annotations.keypoints.tolist() == [[[2, 2, 2]]] * 2
    assert reasons(dataset.skipped) == ['a region without a label'] and not dataset.unused


def test_drawings_of_one_id_are_objects_of_their_own(tmp_path):
    boxes = [rectangle(x, 20, 10, 40, label=label) for x, label in ((0, 'nut'), (20, 'nut'), (40, 'bolt'))]
    again = rectangle(0, 20, 10, 40, label='bolt')  # a second label of the first drawing
    dataset, annotations = read(tmp_path, *boxes, again)
    assert annotations.bboxes[:, 0].tolist() == [0, 0, 4, 8] and annotations.labels.tolist() == [1, 0, 1, 0]
    assert not dataset.skipped and not dataset.unused
    drawn, labels = [], []
    for x, label in ((0, 'nut'), (20, 'bolt')):
        value = {'x': x, 'y': 20, 'width': 10, 'height': 40}
        drawn.append({'id': 'r1', 'type': 'rectangle', 'value': value})
        labels.append({'id': 'r1', 'type': 'labels', 'value': {**value, 'labels': [label]}})
    _, annotations = read(tmp_path, *drawn, *labels)
    assert annotations.bboxes[:, 0].tolist() == [0, 4] and annotations.labels.tolist() == [1, 0]
    unplaced = {'id': 'r1', 'type': 'labels', 'value': {'labels': ['rusty']}}
    eye = region('keypoint', {'x': 10, 'y': 20, 'width': 1}, 'eye', 'k1', parentID='r1')
    dataset, annotations = read(tmp_path, *boxes, unplaced, eye, keypoints=True)
    assert len(annotations) == 3 and reasons(dataset.skipped) == ['a keypoint of several regions of one id']
    assert reasons(dataset.unused) == ["a result of the type 'labels', which is no object"]


def test_results_that_are_no_objects_are_counted(tmp_path):
    others = [
        {'id': 'r1', 'type': 'choices', 'value': {'choices': ['z']}},
        {'id': 'r2', 'type': 'textarea', 'value': {'text': ['hi']}},
        {'type': 'relation', 'from_id': 'r1', 'to_id': 'r2'},
    ]
    dataset, annotations = read(tmp_path, rectangle(0, 0, 10, 10), *others)
    assert len(annotations) == 1 and not dataset.skipped
    assert [skip.reason.split("'")[1] for skip in dataset.unused] == ['choices', 'textarea', 'relation']


def test_keypoints_belong_to_the_region_that_they_name(tmp_path):
    person = rectangle(0, 0, 50, 100, label='person', own_id='p')
    eye = region('keypoint', {'x': 10, 'y': 20, 'width': 1}, 'left_eye', 'k1', parentID='p')
    other = region('keypoint', {'x': 20, 'y': 30, 'width': 1}, 'right_eye', 'k2', parentID='p')
    alone = region('keypoint', {'x': 20, 'y': 30, 'width': 1}, 'right_eye', 'k3')
    dataset, annotations = read(tmp_path, other, eye, person, alone, keypoints=True)
    assert annotations.keypoints.tolist() == [[[2, 2, 2], [4, 3, 2]]]
    assert dataset.metainfo['flip_pairs'] == ((0, 1),) and reasons(dataset.unused) == [
        'a keypoint that is no part of a region'
    ]
    cfg = dict(data_root=str(tmp_path), ann_file='export.json', keypoints=True)
    assert LabelStudioDataset.peek(cfg)['keypoint_shape'] == (2, 3)
    dataset, annotations = read(tmp_path, person, eye)
    assert annotations.keypoints is None and dataset.unused[0].reason == 'a keypoint (keypoints=True reads it)'


@pytest.mark.parametrize(
    ('entry', 'reason'),
    [
        (rectangle(10, 20, None, 40), 'the coordinate None'),
        (rectangle(10, 20, 0, 40), 'no area inside the image'),
        (rectangle(110, 20, 10, 40), 'no area inside the image'),
        (rectangle(10, 20, 30, 40, label=''), 'without a label'),
        (region('polygon', {'points': [[1, 1], [2, 2]]}), '2 points, where 3'),
        (region('brush', {'rle': [0, 0]}), 'ends too early'),
        (region('brush', {'rle': [0] * 40}), 'a brush of 0 words of 1 bits, where 20x10 pixels have 800 of 8'),
        (region('brush', {'rle': BRUSH[:40]}), 'ends too early'),
        (region('brush', {'rle': [*BRUSH[:7], 255, 255, 255, *BRUSH]}), 'more words than the image'),
        (region('brush', {'rle': [300]}), 'no list of bytes'),
        (region('brush', {'rle': 7}), 'ends too early'),
        (region('brush', {'rle': BRUSH}, original_width=21), 'a brush of the size (10, 21)'),
        ('region', 'no mapping with a value'),
        ({'id': 'r1', 'type': 'rectanglelabels', 'value': None}, 'no mapping with a value'),
    ],
)
def test_a_region_that_breaks_a_rule_is_left_out_alone(tmp_path, entry, reason):
    dataset, annotations = read(tmp_path, rectangle(0, 0, 10, 10, label='bolt', own_id='good'), entry)
    assert len(annotations) == 1
    (skip,) = dataset.skipped
    assert skip.path.endswith('export.json') and str(skip.where).startswith('task 7, region') or 'area' in reason
    assert reason in skip.reason


def test_which_annotation_of_a_task_is_taken(tmp_path):
    several = task(rectangle(0, 0, 10, 10))
    cancelled = {'was_cancelled': True, 'result': [rectangle(0, 0, 90, 90)]}
    several['annotations'] = [cancelled, *several['annotations'], {'result': [rectangle(0, 0, 80, 80)]}]
    none = task(image='b.png', annotations=[cancelled])
    empty = task(image='c.png')
    for name in ('a.png', 'b.png', 'c.png'):
        write_image(tmp_path / name, 20, 10)
    write_json(tmp_path / 'export.json', [several, none, empty])
    dataset = LabelStudioDataset('export.json', data_root=str(tmp_path))
    assert [record.annotations.areas.tolist() for record in dataset.records] == [[2], []]
    assert [(skip.reason, skip.count) for skip in dataset.unused] == [
        ('a further or cancelled annotation of a task', 2),
        ('a further or cancelled annotation of a task', 1),
        ('a task without an annotation that is not cancelled', 1),
        ('an image that no annotation names', 1),
    ]


def test_tasks_with_predictions_alone_are_named(tmp_path):
    write_image(tmp_path / 'a.png', 20, 10)
    predicted = task(annotations=[], predictions=[{'result': [rectangle(0, 0, 10, 10)]}])
    write_json(tmp_path / 'export.json', [predicted, predicted])
    with pytest.raises(DataError, match='has no image; left out: 2 × a task with predictions alone, which are not'):
        LabelStudioDataset('export.json', data_root=str(tmp_path), metainfo=dict(classes=['nut']))


def test_how_images_are_named(tmp_path):
    for url, name in (
        ('/data/upload/12/0123abcd-a%20b.png', 'a b.png'),
        ('/data/upload/0123abcd-c.png', '0123abcd-c.png'),
        ('/data/local-files/?d=set/d%20e.png', 'set/d e.png'),
        ('s3://bucket/images/f.png', 'f.png'),
        ('https://host/some/g.png?X-Amz-Date=1', 'g.png'),
        ('C:\\Users\\me\\h.png', 'h.png'),
    ):
        root = tmp_path / name.replace('/', '_')
        write_image(root / 'images' / name, 20, 10)
        write_json(root / 'export.json', [task(rectangle(0, 0, 10, 10), image=url)])
        dataset = LabelStudioDataset('export.json', data_root=str(root), images='images')
        assert dataset.records[0].img_path.endswith(name) and not dataset.skipped and not dataset.unused
    uploaded = task(rectangle(0, 0, 10, 10), image='https://host/x?id=5', file_upload='0123abcd-up.png')
    write_image(tmp_path / 'up.png', 20, 10)
    write_json(tmp_path / 'export.json', [uploaded, task(rectangle(0, 0, 9, 9), image='data:image/png;base64,AAAA')])
    dataset = LabelStudioDataset('export.json', data_root=str(tmp_path))
    assert list(records_by_name(dataset)) == ['up.png'] and "'(not named)'" in dataset.skipped[0].reason


def test_the_key_of_the_image(tmp_path):
    two = task(rectangle(0, 0, 10, 10), data={'front': 'a.png', 'back': 'b.png', 'text': 'a b'})
    write_image(tmp_path / 'b.png', 20, 10)
    write_json(tmp_path / 'export.json', [two])
    with pytest.raises(DataError, match="task 7 of .* names several images .'front', 'back'.; set image_key"):
        LabelStudioDataset('export.json', data_root=str(tmp_path))
    with pytest.raises(DataError, match="has no data 'side', but 'front', 'back', 'text'"):
        LabelStudioDataset('export.json', data_root=str(tmp_path), image_key='side')
    assert len(LabelStudioDataset('export.json', data_root=str(tmp_path), image_key='back')) == 1


@pytest.mark.parametrize(
    'content', [[], {}, [{'image': 'a.png', 'label': []}], {'images': [], 'annotations': 1}, 5, [5]]
)
def test_what_is_no_such_file_is_refused(tmp_path, content):
    write_json(tmp_path / 'export.json', content)
    if isinstance(content, dict) and content:
        with pytest.raises(DataError, match='has no image'):
            LabelStudioDataset('export.json', data_root=str(tmp_path))
        return
    with pytest.raises(DataError, match='is no list of Label Studio.*not JSON-MIN'):
        LabelStudioDataset('export.json', data_root=str(tmp_path))


percent = st.floats(-10, 110)
rectangles = st.builds(rectangle, *[st.floats(0, 50)] * 2, *[st.floats(5, 70)] * 2, own_id=st.sampled_from('xyz'))
regions = st.one_of(
    st.builds(rectangle, percent, percent, percent, percent, st.sampled_from([0, 30]), own_id=st.sampled_from('ab')),
    st.builds(
        region,
        st.sampled_from(['polygon', 'ellipse', 'keypoint', 'brush', 'odd']),
        st.fixed_dictionaries(
            {
                'points': st.lists(st.tuples(percent, percent).map(list), max_size=5),
                'x': percent,
                'y': percent,
                'radiusX': percent,
                'radiusY': percent,
                'rle': st.sampled_from([BRUSH, BRUSH[:30]]) | st.lists(st.integers(0, 255), max_size=30),
            }
        ),
        own_id=st.sampled_from('abcde'),
        parentID=st.sampled_from(['a', None]),
    ),
)
results = st.lists(rectangles | rectangles | regions | regions.flatmap(replaced) | values, max_size=6)
tasks = st.one_of(st.lists(rectangles | regions, min_size=1, max_size=6), results).map(lambda own: task(*own))
files = st.lists(tasks | tasks | tasks.flatmap(replaced) | values, min_size=1, max_size=2).map(
    lambda own: json.dumps(own).encode('utf-8', 'replace')
)


@pytest.mark.thorough
@pytest.mark.filterwarnings('error', 'ignore:__array__ implementation:DeprecationWarning')  # the latter of pycocotools
@pytest.mark.parametrize('cases', AMOUNTS)
def test_damaged_files(tmp_path, cases):
    write_image(tmp_path / 'a.png', 20, 10)
    seen = {'kept': 0, 'skipped': 0}

    def check(case: tuple[bytes, bool, bool]) -> None:
        data, rotated, keypoints = case
        (tmp_path / 'export.json').write_bytes(data)
        options = dict(max_skipped=1, rotated=rotated, keypoints=keypoints)
        dataset = LabelStudioDataset('export.json', data_root=str(tmp_path), **options)
        seen['kept'] += check_sound(dataset)
        seen['skipped'] += len(dataset.skipped)

    run_fuzz(cases, st.tuples(st.one_of(files, files, damaged(files)), st.booleans(), st.booleans()), check)
    assert min(seen.values()) > cases // 10


@pytest.mark.parametrize('cases', AMOUNTS)
def test_damaged_brushes(cases):
    header = bytes(BRUSH[:7])

    def check(data: bytes) -> None:
        try:
            assert decode_brush(header + data, (10, 20)).shape == (10, 20)
        except EntryError as error:
            raise DataError(error.reason) from error

    run_fuzz(cases, damaged(st.just(bytes(BRUSH[7:]))) | st.binary(max_size=60), check)
