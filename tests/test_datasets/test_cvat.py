"""CVAT's files: what is read, what is left out alone, what is refused."""

import numpy as np
import pytest
from format_helpers import write_image
from fuzz_strategies import AMOUNTS, damaged, odd_words, run_fuzz
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from shape_checks import check_sound, reasons, records_by_name

from detkit.datasets import CvatDataset
from detkit.datasets.box_forms import KEYPOINT_OUT
from detkit.utils.errors import ConfigError, DataError

LABELS = """<labels>
<label><name>nut</name><color>#ff0000</color><type>any</type><attributes><attribute><name>size</name></attribute>
</attributes></label>
<label><name>bolt</name><type>any</type></label>
<label><name>road</name><type>polyline</type></label>
</labels>"""
SKELETON = """<labels>
<label><name>person</name><type>skeleton</type><svg>&lt;line /&gt;</svg></label>
<label><name>left_eye</name><type>points</type><parent>person</parent></label>
<label><name>right_eye</name><type>points</type><parent>person</parent></label>
<label><name>nose</name><type>points</type><parent>person</parent></label>
</labels>"""


def image(content='', name='a.png', size_wh=(20, 10), **more):
    more = ''.join(f' {key}="{value}"' for key, value in more.items())
    return f'<image id="0" name="{name}" width="{size_wh[0]}" height="{size_wh[1]}"{more}>{content}</image>'


def box(*corners, label='nut', **more):
    keys = zip(('xtl', 'ytl', 'xbr', 'ybr'), corners, strict=False)
    attributes = {'label': label, 'source': 'manual', 'occluded': 0, **dict(keys), **more}
    return f'<box {" ".join(f"""{key}="{value}" """ for key, value in attributes.items())}/>'


def xml(*images, labels=LABELS):
    meta = f'<version>1.1</version><meta><task><id>1</id>{labels}</task></meta>'
    return f'<annotations>{meta}{"".join(images)}</annotations>'


def read(root, content='', labels=LABELS, **options):
    write_image(root / 'images/a.png', 20, 10)
    (root / 'annotations.xml').write_text(xml(image(content), labels=labels))
    dataset = CvatDataset(data_root=str(root), images='images', **{'max_skipped': 1, **options})
    check_sound(dataset)
    return dataset, dataset.records[0].annotations


POLYGON = (
    '<polygon label="bolt" points="2.0,1.0;8.0,1.0;2.0,5.0" z_order="0"><attribute name="size">3</attribute></polygon>'
)


def test_boxes_polygons_and_ellipses(tmp_path):
    dataset, annotations = read(
        tmp_path,
        box(1, 2, 5, 6, occluded=1)
        + POLYGON
        + '<ellipse label="nut" cx="10" cy="5" rx="4" ry="2"/>'
        + '<ellipse label="nut" cx="10" cy="5" rx="4" ry="2" rotation="90"/>',
    )
    assert dataset.metainfo['classes'] == ('nut', 'bolt') and annotations.labels.tolist() == [0, 1, 0, 0]
    np.testing.assert_allclose(
        annotations.bboxes, [[1, 2, 5, 6], [2, 1, 8, 5], [6, 3, 14, 7], [8, 1, 12, 9]], atol=1e-5
    )
    np.testing.assert_allclose(annotations.areas, [16, 12, 8 * np.pi, 8 * np.pi], rtol=2e-3)
    assert annotations.polygons.ring_owners.tolist() == [1, 2, 3] and not dataset.skipped and not dataset.unused
    assert CvatDataset.peek(dict(data_root=str(tmp_path))) == {'classes': ('nut', 'bolt')}


def test_a_turned_box(tmp_path):
    _, annotations = read(tmp_path, box(6, 3, 14, 7, rotation=90) + box(6, 3, 14, 7, rotation=30))
    np.testing.assert_allclose(annotations.bboxes[0], [8, 1, 12, 9], atol=1e-5)
    assert annotations.polygons.ring_owners.tolist() == [0, 1] and abs(annotations.areas[1] - 32) < 1e-4
    _, annotations = read(tmp_path, box(6, 3, 14, 7, rotation=30) + box(6, 3, 14, 7), rotated=True)
    np.testing.assert_allclose(annotations.rbboxes, [[10, 5, 8, 4, np.pi / 6], [10, 5, 8, 4, 0]], atol=1e-5)


def test_masks_are_lengths_of_runs_row_by_row(tmp_path):
    element = '<mask label="nut" rle="1, 1, 1, 3, 1, 1, 1" left="{}" top="5" width="3" height="3"/>'
    _, annotations = read(tmp_path, element.format(4) + element.format(18))
    expected = np.zeros((10, 20), np.uint8)
    expected[5:8, 4:7] = [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
    assert (coco_mask.decode(annotations.rles[0]) == expected).all()
    assert annotations.bboxes.tolist() == [[4, 5, 7, 8], [18, 5, 20, 8]] and annotations.areas.tolist() == [5, 4]


def test_skeletons_are_keypoints(tmp_path):
    points = (
        '<points label="nose" outside="0" occluded="0" points="5.0,6.0"/>'
        '<points label="left_eye" outside="0" occluded="1" points="3.0,2.0"/>'
        '<points label="right_eye" outside="1" occluded="0" points="9.0,9.0"/>'
    )
    content = f'<skeleton label="person">{points}</skeleton>' + box(0, 0, 4, 4, label='person')
    dataset, annotations = read(tmp_path, content, SKELETON, keypoints=True)
    assert dataset.metainfo['keypoint_names'] == ('left_eye', 'right_eye', 'nose')
    assert dataset.metainfo['flip_pairs'] == ((0, 1),) and dataset.metainfo['classes'] == ('person',)
    assert annotations.keypoints.tolist() == [[[3, 2, 1], [0, 0, 0], [5, 6, 2]], [[0, 0, 0]] * 3]
    assert annotations.bboxes.tolist() == [[3, 2, 5, 6], [0, 0, 4, 4]]
    cfg = dict(data_root=str(tmp_path), keypoints=True)
    assert CvatDataset.peek(cfg) == {'classes': ('person',), 'keypoint_shape': (3, 3)}
    dataset, annotations = read(tmp_path, content, '', keypoints=True, metainfo=dict(keypoint_names=('nose',)))
    assert annotations.keypoints[0].tolist() == [[5, 6, 2]] and dataset.metainfo['classes'] == ('person',)
    assert "the keypoint 'left_eye'" in dataset.skipped[0].reason and len(dataset.skipped) == 2
    outside = content.replace('points="5.0,6.0"', 'points="35.0,6.0"')
    dataset, _ = read(tmp_path, outside, SKELETON, keypoints=True)
    assert sum(skip.reason == KEYPOINT_OUT for skip in dataset.unused) == 1
    with pytest.raises(DataError, match='has no keypoints'):
        read(tmp_path, POLYGON, keypoints=True)


def grouped(group, points, label='bolt'):
    return f'<polygon label="{label}" group_id="{group}" points="{points}"/>'


def test_outlines_of_one_group_and_label_are_parts_of_one_object(tmp_path):
    left, right = '0,0;2,0;2,2;0,2', '10,0;14,0;14,5;10,5'
    mask = '<mask label="bolt" group_id="9" rle="0, 4" left="16" top="6" width="2" height="2"/>'
    content = grouped(7, left) + grouped(8, '4,4;6,4;6,6') + grouped(7, right) + grouped(7, right, 'nut')
    content += box(1, 6, 5, 9, group_id=4) + box(6, 6, 9, 9, group_id=4) + grouped(0, left) + grouped(0, right)
    _, annotations = read(tmp_path, content)
    corners = [[0, 0, 14, 5], [4, 4, 6, 6], [10, 0, 14, 5], [1, 6, 5, 9], [6, 6, 9, 9], [0, 0, 2, 2], [10, 0, 14, 5]]
    assert annotations.bboxes.tolist() == corners and annotations.areas[0] == 24
    assert annotations.polygons.ring_owners.tolist() == [0, 0, 1, 2, 5, 6]
    # A box of the group is the object's box, and a bitmap makes the others bitmaps.
    _, annotations = read(tmp_path, grouped(7, left) + box(0, 0, 15, 6, label='bolt', group_id=7) + grouped(7, right))
    assert annotations.bboxes.tolist() == [[0, 0, 15, 6]] and annotations.areas.tolist() == [24]
    _, annotations = read(tmp_path, grouped(9, left) + mask)
    assert annotations.bboxes.tolist() == [[0, 0, 18, 8]] and annotations.areas.tolist() == [8]


def test_a_bitmap_has_a_rotated_box_of_its_own(tmp_path):
    rows = ['10000', '11000', '01100', '00110', '00011', '00001']  # a bar that runs down to the right
    runs, previous = [0], '0'
    for pixel in ''.join(rows):
        if pixel != previous:
            runs, previous = [*runs, 0], pixel
        runs[-1] += 1
    mask = f'<mask label="nut" rle="{", ".join(map(str, runs))}" left="3" top="2" width="5" height="6"/>'
    _, annotations = read(tmp_path, mask, rotated=True)
    ((cx, cy, w, h, angle),) = annotations.rbboxes.tolist()
    assert abs(cx - 5.5) < 1e-4 and abs(cy - 5) < 1e-4 and w > 2 * h and abs(angle - np.pi / 4) < 0.1


def test_a_folder_without_the_images_is_named(tmp_path):
    write_image(tmp_path / 'deep/er/photos/a.png', 20, 10)
    (tmp_path / 'images').mkdir()
    (tmp_path / 'annotations.xml').write_text(xml(image(POLYGON), image(POLYGON, 'b.png')))
    with pytest.raises(DataError, match="Correct images, relative to data_root=.*'a.png' is in 'deep/er/photos'"):
        CvatDataset(data_root=str(tmp_path), images='images')


@pytest.mark.parametrize(
    ('element', 'reason'),
    [
        (box(1, 2, 5), 'the coordinate None'),
        (box(1, 2, 5, 'nan'), "the coordinate 'nan'"),
        (box(1, 2, 1, 6), 'no area inside the image'),
        (box(1, 2, 5, 6, label=''), 'no label'),
        ('<polygon label="nut" points="1,2;3,4"/>', '2 points, where 3'),
        ('<polygon label="nut" points="1,2,3;4"/>', 'no list of (x, y)'),
        ('<polygon label="nut"/>', '0 points, where 3'),
        ('<mask label="nut" rle="1,2" left="0" top="0" width="2" height="2"/>', 'not the lengths of 4 pixels'),
        ('<mask label="nut" rle="x" left="0" top="0" width="2" height="2"/>', 'not the lengths of 4 pixels'),
        ('<mask label="nut" rle="0_0,4" left="0" top="0" width="2" height="2"/>', 'not the lengths of 4 pixels'),
        ('<box label="nut" xtl="1_0" ytl="1" xbr="12" ybr="5"/>', 'is no number of an image'),
        ('<mask label="nut" rle="1" left="0" top="0" width="9999999" height="9999999"/>', 'a mask of 9999999x'),
        ('<mask label="nut" rle="4" left="0" top="0" width="2" height="2"/>', 'without a pixel'),
        ('<skeleton label="nut"><points label="" points="1,1"/></skeleton>', 'without a name'),
        ('<blob label="nut"/>', '<blob>, which is not known'),
    ],
)
def test_an_element_that_breaks_a_rule_is_left_out_alone(tmp_path, element, reason):
    dataset, annotations = read(tmp_path, element + POLYGON)
    assert annotations.labels.tolist() == [1]
    (skip,) = dataset.skipped
    assert skip.path.endswith('annotations.xml') and reason in skip.reason


def test_an_object_without_area_is_named_with_its_image(tmp_path):
    dataset, _ = read(tmp_path, POLYGON + box(3, 3, 3, 9))
    assert dataset.skipped[0].where == 'image 0, box 2'


def test_what_is_no_object_is_unused(tmp_path):
    others = ''.join(f'<{tag} label="road" points="1,1;3,3"/>' for tag in ('polyline', 'points', 'cuboid', 'tag'))
    dataset, annotations = read(tmp_path, others + box(1, 1, 5, 5, outside=1) + POLYGON + '<attribute name="x"/>')
    assert len(annotations) == 1 and not dataset.skipped
    assert [reason.split(',')[0] for reason in reasons(dataset.unused)][:5] == [
        'a polyline',
        'a points',
        'a cuboid',
        'a tag',
        'an object outside the image',
    ]


def test_tracks_beside_images_are_counted(tmp_path):
    write_image(tmp_path / 'a.png', 20, 10)
    track = f'<track id="{{}}" label="nut">{box(1, 1, 5, 5, frame=0)}</track>'
    text = xml(
        track.format(4),
        image(POLYGON + box(1, 1, 5, 5)),
        *[track.format(i) for i in (5, 6)],
        '<Image id="1" name="b.png"/>',
    )
    (tmp_path / 'annotations.xml').write_text(text)
    dataset = CvatDataset(data_root=str(tmp_path))
    assert len(dataset.records[0].annotations) == 2 and not dataset.skipped
    assert [skip.where for skip in dataset.unused] == ['track 4', 'track 5', 'track 6', 'Image 1']
    assert 'a track of a video' in dataset.unused[0].reason and '<Image>' in dataset.unused[3].reason


def test_several_tasks_and_subsets(tmp_path):
    images = [
        image(box(0, 0, 5, 5), 'a.png', subset='Train', task_id=1),
        image(box(0, 0, 6, 6), 'a.png', subset='Val', task_id=2),
        image(box(0, 0, 7, 7, label='bolt'), 'b.png', subset='Val', task_id=2),
        image(box(0, 0, 7, 7), 'gone.png', subset='Train', task_id=1),
    ]
    for name in ('Train/a.png', 'Val/a.png', 'Val/b.png'):
        write_image(tmp_path / 'images' / name, 20, 10)
    tasks = ''.join(f'<task><id>{i}</id></task>' for i in (1, 2))
    (tmp_path / 'project.xml').write_text(
        f'<annotations><meta><project>{LABELS}<tasks>{tasks}</tasks></project></meta>{"".join(images)}</annotations>'
    )
    (tmp_path / 'more.xml').write_text(xml(image(box(0, 0, 8, 8), 'Train/a.png')))
    options = dict(data_root=str(tmp_path), images='images', max_skipped=1)
    dataset = CvatDataset(ann_file=['project.xml', 'more.xml'], **options)
    assert [record.img_id for record in dataset.records] == ['Train/a.png', 'Val/a.png', 'Val/b.png']
    assert [record.annotations.areas.tolist() for record in dataset.records] == [[25], [36], [49]]
    assert "no image 'Train/gone.png'" in dataset.skipped[0].reason and 'once more' in dataset.skipped[1].reason
    dataset = CvatDataset(ann_file='project.xml', image_subset='Val', **options)
    assert sorted(records_by_name(dataset)) == ['a.png', 'b.png'] and dataset.unused[0].count == 1
    with pytest.raises(DataError, match="of the subset 'val'; there are 'Train', 'Val'. Did you mean 'Val'"):
        CvatDataset(ann_file='project.xml', image_subset='val', **options)


def test_what_is_no_such_file_is_refused(tmp_path):
    file = tmp_path / 'annotations.xml'
    with pytest.raises(DataError, match='cannot be read'):
        CvatDataset.peek(dict(data_root=str(tmp_path)))
    for text, reason in (
        ('<annotation/>', 'its root is <annotation>'),
        ('<annotations/>', 'lists no image'),
        (
            '<annotations><track id="0"/></annotations>',
            "tracks of a video; export the task from CVAT as 'CVAT for images",
        ),
        ('{}', 'cannot be read as XML'),
    ):
        file.write_text(text)
        with pytest.raises(DataError, match=reason):
            CvatDataset(data_root=str(tmp_path))
    with pytest.raises(ConfigError, match='ann_file of CvatDataset is empty'):
        CvatDataset(data_root=str(tmp_path), ann_file=())


good = st.floats(-5, 30).map('{:.2f}'.format)
coordinates = st.integers(0, 40).flatmap(lambda draw: odd_words if draw == 17 else good)
pairs = st.lists(st.tuples(coordinates, coordinates).map(','.join), max_size=5).map(';'.join)
runs = st.sampled_from(['1, 1, 2', '0, 4', '4', '', '1,2']) | st.lists(st.integers(0, 4).map(str), max_size=5).map(
    ','.join
)
tags = st.sampled_from(['box', 'box', 'polygon', 'polygon', 'ellipse', 'mask', 'skeleton', 'polyline', 'tag', 'blob'])
NUMBERS = ('xtl', 'ytl', 'xbr', 'ybr', 'cx', 'cy', 'rx', 'ry', 'left', 'top')
attributes = st.fixed_dictionaries(
    {
        **dict.fromkeys(NUMBERS, coordinates),
        'label': st.sampled_from(['nut', 'bolt', 'washer', 'eye', '']),
        'points': pairs,
        'rotation': st.sampled_from(['0', '0', '30', 'x']),
        'rle': runs,
        'width': st.sampled_from(['2', '2', '3', '99999999']),
        'height': st.sampled_from(['2', '2', '3', '0']),
    }
)


def escaped(text):
    kept = ''.join(char for char in text if char >= ' ' and not 0xD800 <= ord(char) < 0xE000)
    return kept.replace('&', '&amp;').replace('<', '&lt;').replace('"', '&quot;')


@st.composite
def elements(draw):
    tag, own = draw(tags), draw(attributes)
    inner = ''
    if tag == 'skeleton':
        names = draw(st.lists(st.sampled_from(['nose', 'eye', '']), max_size=3))
        inner = ''.join(f'<points label="{name}" points="{escaped(draw(pairs))}"/>' for name in names)
    return f'<{tag} {" ".join(f"""{key}="{escaped(value)}" """ for key, value in own.items())}>{inner}</{tag}>'


whole = st.builds(box, *[st.floats(0, 9)] * 2, *[st.floats(9, 20)] * 2, rotation=st.floats(0, 360)) | st.just(POLYGON)
files = st.lists(elements() | whole, max_size=5).map(lambda own: xml(image(''.join(own))).encode())


@pytest.mark.filterwarnings('error', 'ignore:__array__ implementation:DeprecationWarning')  # the latter of pycocotools
@pytest.mark.parametrize('cases', AMOUNTS)
def test_damaged_files(tmp_path, cases):
    write_image(tmp_path / 'a.png', 20, 10)
    seen = {'kept': 0, 'skipped': 0}

    def check(case: tuple[bytes, bool, bool]) -> None:
        data, rotated, keypoints = case
        (tmp_path / 'annotations.xml').write_bytes(data)
        dataset = CvatDataset(data_root=str(tmp_path), max_skipped=1, rotated=rotated, keypoints=keypoints)
        seen['kept'] += check_sound(dataset)
        seen['skipped'] += len(dataset.skipped)

    run_fuzz(cases, st.tuples(st.one_of(files, files, damaged(files)), st.booleans(), st.booleans()), check)
    assert min(seen.values()) > cases // 10
