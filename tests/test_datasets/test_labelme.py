"""labelme's files: what is read, what is left out alone, what is refused."""

import base64
import io
import json

import numpy as np
import pytest
from format_helpers import write_image
from fuzz_strategies import AMOUNTS, damaged, replaced, run_fuzz, values
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask
from shape_checks import check_sound, reasons, records_by_name, write_json

from detkit.datasets import LabelmeDataset
from detkit.utils.errors import DataError


def shape(label, points, kind='polygon', **more):
    return {'label': label, 'points': points, 'group_id': None, 'shape_type': kind, 'flags': {}, **more}


def document(*shapes, image='a.png', size_wh=(20, 10)):
    return {
        'version': '5.5.0',
        'flags': {},
        'shapes': list(shapes),
        'imagePath': image,
        'imageData': None,
        'imageHeight': size_wh[1],
        'imageWidth': size_wh[0],
    }


def read(root, *shapes, **options):
    write_image(root / 'a.png', 20, 10)
    write_json(root / 'a.json', document(*shapes))
    dataset = LabelmeDataset(data_root=str(root), **{'max_skipped': 1, **options})
    check_sound(dataset)
    return dataset, dataset.records[0].annotations


def png(mask):
    file = io.BytesIO()
    Image.fromarray(np.asarray(mask, bool)).save(file, 'PNG')
    return base64.b64encode(file.getvalue()).decode()


TRIANGLE = [[2, 1], [8, 1], [2, 5]]


def test_polygons_rectangles_and_circles(tmp_path):
    dataset, annotations = read(
        tmp_path,
        shape('nut', TRIANGLE),
        shape(' bolt ', [[9, 8], [3, 2]], 'rectangle'),
        shape('nut', [[10, 5], [10, 8]], 'circle'),
        {'label': 'nut', 'points': [[1, 1], [3, 1], [3, 3]]},
    )
    assert dataset.metainfo['classes'] == ('bolt', 'nut') and annotations.labels.tolist() == [1, 0, 1, 1]
    assert annotations.bboxes.tolist() == [[2, 1, 8, 5], [3, 2, 9, 8], [7, 2, 13, 8], [1, 1, 3, 3]]
    np.testing.assert_allclose(annotations.areas, [12, 36, 9 * np.pi, 2], rtol=2e-3)
    assert annotations.polygons.ring_owners.tolist() == [0, 2, 3] and annotations.polygons.ring_sizes[0] == 3
    assert not dataset.skipped and not dataset.unused
    assert LabelmeDataset.peek(dict(data_root=str(tmp_path)))['classes'] == ('bolt', 'nut')


def test_flags_may_be_text(tmp_path):
    flags = ['false', 'true', 0, 1, '', None, True, 'perhaps', [1]]
    boxes = [shape('nut', [[i, 0], [i + 1, 5]], 'rectangle', difficult=flag) for i, flag in enumerate(flags)]
    dataset, annotations = read(tmp_path, *boxes, shape('nut', TRIANGLE, flags={'difficult': 'True'}))
    assert annotations.ignored.tolist() == [False, True, False, True, False, False, True, True]
    assert [skip.where for skip in dataset.skipped] == ['shape 8', 'shape 9']
    assert "difficult is 'perhaps', not true or false" in dataset.skipped[0].reason


def test_a_group_of_shapes_of_one_label_is_one_object(tmp_path):
    _, annotations = read(
        tmp_path,
        shape('nut', TRIANGLE, group_id=1),
        shape('bolt', TRIANGLE, group_id=1),
        shape('nut', [[12, 4], [15, 9]], 'rectangle', group_id=1),
        shape('nut', [[0, 0], [1, 1]], 'rectangle', group_id=2),
    )
    assert annotations.labels.tolist() == [1, 0, 1]
    assert annotations.bboxes.tolist() == [[2, 1, 15, 9], [2, 1, 8, 5], [0, 0, 1, 1]]
    assert annotations.areas.tolist() == [27, 12, 1] and annotations.polygons.ring_owners.tolist() == [0, 0, 1]


def test_outlines_outside_the_image_are_listed(tmp_path):
    beside, around = [[30, 1], [34, 1], [34, 6]], [[-9, -9], [40, -9], [40, -5], [-5, -5], [-5, 40], [-9, 40]]
    dataset, annotations = read(
        tmp_path,
        shape('nut', beside),
        shape('nut', around),  # the box round it has all of the image in it, the outline nothing
        shape('bolt', TRIANGLE, group_id=1),
        shape('bolt', around, group_id=1),
        shape('nut', TRIANGLE),
    )
    assert annotations.labels.tolist() == [1, 0] or annotations.labels.tolist() == [0, 1]
    assert annotations.polygons.ring_owners.tolist() == [0, 1]
    assert [(skip.where, skip.reason) for skip in dataset.skipped] == [
        ('shape 1', 'no area inside the image'),
        ('shape 2', 'no area inside the image'),
    ]
    assert [skip.reason[:43] for skip in dataset.unused] == ['a ring of an outline without an area inside']


def test_bitmaps(tmp_path):
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])
    _, annotations = read(
        tmp_path,
        shape('nut', [[4, 5], [6, 7]], 'mask', mask=png(cross)),
        shape('nut', [[18, 8], [20, 10]], 'mask', mask=png(cross)),  # its last row and column lie outside
        shape('nut', [[0, 0], [2, 2]], 'mask', mask=png(cross), group_id=7),
        shape('nut', [[8, 0], [12, 4]], 'rectangle', group_id=7),
    )
    expected = np.zeros((10, 20), np.uint8)
    expected[5:8, 4:7] = cross
    assert (coco_mask.decode(annotations.rles[0]) == expected).all()
    assert annotations.bboxes.tolist() == [[4, 5, 7, 8], [18, 8, 20, 10], [0, 0, 12, 4]]
    assert annotations.areas.tolist() == [5, 3, 21] and annotations.polygons is None


def test_difficult_objects_are_ignored(tmp_path):
    _, annotations = read(
        tmp_path,
        shape('nut', TRIANGLE, difficult=True),
        shape('nut', [[0, 0], [4, 4]], 'rectangle', difficult=False),
        shape('nut', [[0, 0], [5, 5]], 'rectangle', flags={'difficult': True}),
    )
    assert annotations.ignored.tolist() == [True, False, True]


def test_rotated_boxes(tmp_path):
    square = [[10, 1], [14, 5], [10, 9], [6, 5]]
    _, annotations = read(
        tmp_path, shape('nut', square, 'rotation', direction=0.7), shape('nut', [[1, 1], [5, 3]], 'rectangle')
    )
    assert annotations.bboxes[0].tolist() == [6, 1, 14, 9] and annotations.areas[0] == 32
    _, annotations = read(
        tmp_path, shape('nut', square, 'rotation'), shape('nut', [[1, 1], [5, 3]], 'rectangle'), rotated=True
    )
    side = 4 * np.sqrt(2)
    np.testing.assert_allclose(annotations.rbboxes[0, :4], [10, 5, side, side], rtol=1e-6)
    np.testing.assert_allclose(annotations.rbboxes[1], [3, 2, 4, 2, 0], atol=1e-6)
    assert annotations.polygons is None


@pytest.mark.parametrize(
    ('entry', 'reason'),
    [
        (shape('nut', TRIANGLE[:2]), '2 points, where 3 are needed'),
        (shape('nut', [[1, 1], [3, float('nan')], [4, 4]]), 'the coordinate nan is no number'),
        (shape('nut', [[1, 1], [3, 10**400], [4, 4]]), 'is no number of an image'),
        (shape('nut', [[1, 1], [True, 2], [4, 4]]), 'the coordinate True'),
        (shape('nut', [[1, 1, 1]] * 3), 'no list of (x, y)'),
        (shape('nut', None), 'no list of (x, y)'),
        (shape('', TRIANGLE), 'is no name'),
        (shape(None, TRIANGLE), 'is no name'),
        (shape('nut', [[30, 1], [40, 1], [30, 5]]), 'no area inside the image'),
        (shape('nut', [[3, 3], [3, 8]], 'rectangle'), 'no area inside the image'),
        (shape('nut', TRIANGLE, 'spline'), "shape_type 'spline'"),
        (shape('nut', [[1, 1], [3, 3]], 'mask', mask='???'), 'a bitmap that cannot be read'),
        (shape('nut', [[1, 1], [3, 3]], 'mask'), 'a bitmap that cannot be read'),
        (shape('nut', [[1, 1], [9, 9]], 'mask', mask=png(np.ones((3, 3)))), '3x3 pixels between points'),
        (shape('nut', [[1, 1], [3, 3]], 'mask', mask=png(np.zeros((3, 3)))), 'without a pixel'),
        ('nut', 'no mapping'),
    ],
)
def test_a_shape_that_breaks_a_rule_is_left_out_alone(tmp_path, entry, reason):
    dataset, annotations = read(tmp_path, entry, shape('bolt', TRIANGLE), metainfo=dict(classes=('bolt', 'nut')))
    assert annotations.labels.tolist() == [0]
    (skip,) = dataset.skipped
    assert skip.path.endswith('a.json') and skip.where == 'shape 1' and reason in skip.reason


def test_shapes_that_enclose_nothing_repeats_and_other_classes_are_unused(tmp_path):
    dataset, annotations = read(
        tmp_path,
        shape('nut', [[1, 1], [5, 5]], 'line'),
        shape('eye', [[1, 1]], 'point'),
        shape('nut', TRIANGLE),
        shape('nut', TRIANGLE),
        shape('washer', TRIANGLE),
        metainfo=dict(classes=('nut',)),
    )
    assert len(annotations) == 1 and not dataset.skipped
    assert reasons(dataset.unused) == [
        'a line, which encloses nothing',
        'a point, which encloses nothing',
        'the same as an earlier object',
        'an object of a class that metainfo does not name',
    ]
    with pytest.raises(DataError, match="class 'Nut' of metainfo. Did you mean 'nut'"):
        read(tmp_path, shape('nut', TRIANGLE), metainfo=dict(classes=('Nut',)))


def test_where_images_are_looked_for(tmp_path):
    for number, (image, named) in enumerate(
        [
            ('json/a.png', 'a.png'),
            ('images/b ü.png', '..\\images\\b%20ü.png'),
            ('images/c.PNG', 'C:\\Users\\me\\c.png'),
            ('images/deep/d.png', '../images/deep/d.png'),
            ('json/e.png', None),
            ('images/f.png', 'renamed.jpg'),
        ]
    ):
        write_image(tmp_path / image, 20, 10)
        stem = 'f' if 'f.png' in image else 'e' if named is None else f'{number}'
        write_json(tmp_path / f'json/{stem}.json', document(shape('nut', TRIANGLE), image=named))
    write_image(tmp_path / 'images/left.png', 20, 10)
    (tmp_path / 'images/left.heic').write_bytes(b'x')
    dataset = LabelmeDataset(data_root=str(tmp_path), annotations='json', images='images')
    assert sorted(records_by_name(dataset)) == ['a.png', 'b ü.png', 'c.PNG', 'd.png', 'e.png', 'f.png']
    assert not dataset.skipped and len(dataset.unused) == 2
    assert dataset.unused[0].path.endswith('left.png') and 'not read (.heic)' in dataset.unused[1].reason


def test_files_that_cannot_be_used_are_left_out_alone(tmp_path):
    write_image(tmp_path / 'b.png', 10, 20)
    write_json(tmp_path / 'b.json', document(image='b.png'))  # another size
    write_json(tmp_path / 'c.json', document(image='gone.png'))
    write_json(tmp_path / 'd.json', document(image='a.png'))  # the image of a.json
    write_json(tmp_path / 'e.json', {'images': []})
    (tmp_path / 'f.json').write_text('{"shapes": ' + '[' * 5000)
    (tmp_path / 'g.json').write_bytes(json.dumps(document(image='g.png')).encode('utf-16'))
    (tmp_path / 'g.png').write_bytes(b'no')
    dataset, _ = read(tmp_path, shape('nut', TRIANGLE))
    assert list(records_by_name(dataset)) == ['a.png']
    for part in (
        'it has 10x20 pixels, but',
        "there is no image 'gone.png'",
        'once more',
        "it has no list 'shapes'",
        'is no valid JSON',
        'the image cannot be read',
    ):
        assert any(part in reason for reason in reasons(dataset.skipped)), part
    dataset, _ = read(tmp_path, shape('nut', TRIANGLE), check_size=False)
    assert 'b.png' in records_by_name(dataset)


def test_what_is_no_such_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match='does not exist. Set annotations'):
        LabelmeDataset(data_root=str(tmp_path), annotations='json')
    with pytest.raises(DataError, match='there is no json file in'):
        LabelmeDataset.peek(dict(data_root=str(tmp_path)))
    write_json(tmp_path / 'coco.json', {'images': []})
    with pytest.raises(DataError, match=r"none of the 1 json files.*no list 'shapes'"):
        LabelmeDataset(data_root=str(tmp_path))


points = st.lists(st.tuples(st.floats(-5, 30), st.floats(-5, 30)).map(list), min_size=1, max_size=5)
kinds = st.sampled_from(['polygon', 'rectangle', 'circle', 'mask', 'rotation', 'line', 'point', 'odd', None])
masks = st.sampled_from([png(np.ones((3, 3))), png(np.ones((1, 2))), 'AAAA', 'iVBORw0KGgo=', ''])
drawn = st.builds(
    shape,
    st.sampled_from(['nut', 'bolt']),
    points,
    kinds,
    group_id=st.none() | st.integers(0, 1),
    mask=masks,
    difficult=st.booleans(),
)
entries = drawn.flatmap(lambda entry: st.one_of(st.just(entry), replaced(entry), values))
documents = st.lists(entries, max_size=5).map(lambda shapes: document(*shapes))
files = documents.flatmap(lambda content: st.just(content) | replaced(content)).map(
    lambda content: json.dumps(content).encode('utf-8', 'replace')
)


@pytest.mark.thorough
@pytest.mark.filterwarnings('error', 'ignore:__array__ implementation:DeprecationWarning')  # the latter of pycocotools
@pytest.mark.parametrize('cases', AMOUNTS)
def test_damaged_files(tmp_path, cases):
    write_image(tmp_path / 'a.png', 20, 10)
    seen = {'kept': 0, 'skipped': 0}

    def check(case: tuple[bytes, bool]) -> None:
        data, rotated = case
        (tmp_path / 'a.json').write_bytes(data)
        dataset = LabelmeDataset(data_root=str(tmp_path), max_skipped=1, rotated=rotated)
        seen['kept'] += check_sound(dataset)
        seen['skipped'] += len(dataset.skipped)

    run_fuzz(cases, st.tuples(st.one_of(files, files, damaged(files)), st.booleans()), check)
    assert min(seen.values()) > cases // 10
