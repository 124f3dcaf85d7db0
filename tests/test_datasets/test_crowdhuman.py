"""CrowdHuman's odgt: what is read, what is left out alone, what is refused."""

import json

import pytest
from format_helpers import write_image
from fuzz_strategies import AMOUNTS, damaged, replaced, run_fuzz, values
from hypothesis import strategies as st
from shape_checks import check_sound, reasons

from detkit.datasets import CrowdHumanDataset
from detkit.utils.errors import ConfigError, DataError


def box(fbox=(2, 1, 6, 4), vbox=(3, 1, 4, 4), hbox=(4, 1, 2, 2), tag='person', **more):
    attributes = {'head_attr': {'ignore': 0, 'occ': 0, 'unsure': 0}, 'extra': {'box_id': 0, 'occ': 0}}
    return {'tag': tag, 'fbox': list(fbox), 'vbox': list(vbox), 'hbox': list(hbox), **attributes, **more}


def line(*boxes, name='273271,c9db'):
    return json.dumps({'ID': name, 'gtboxes': list(boxes)})


def read(root, *lines, **options):
    write_image(root / 'Images/273271,c9db.jpg', 20, 10)
    (root / 'train.odgt').write_text('\n'.join(lines) + '\n')
    dataset = CrowdHumanDataset('train.odgt', data_root=str(root), **{'max_skipped': 1, **options})
    check_sound(dataset)
    return dataset, dataset.records[0].annotations


def test_which_box_is_read(tmp_path):
    for which, bbox, name in (
        ('fbox', [2, 1, 8, 5], 'person'),
        ('vbox', [3, 1, 7, 5], 'person'),
        ('hbox', [4, 1, 6, 3], 'head'),
    ):
        dataset, annotations = read(tmp_path, line(box()), box=which)
        assert annotations.bboxes.tolist() == [bbox] and dataset.metainfo['classes'] == (name,)
        assert CrowdHumanDataset.peek(dict(ann_file='no', box=which)) == {'classes': (name,)}
    assert dataset.records[0].img_id == '273271,c9db'
    with pytest.raises(ConfigError, match="box='body' is not one of 'fbox'"):
        read(tmp_path, line(box()), box='body')
    with pytest.raises(ConfigError, match="no argument 'keypoints'"):
        read(tmp_path, line(box()), keypoints=True)


def test_masks_and_flagged_boxes_are_ignored(tmp_path):
    boxes = [
        box(tag='mask', extra={'box_id': 1, 'ignore': 1}),
        box((0, 0, 5, 5), hbox=(0, 0, 1, 1), extra={'ignore': 1}),
        box((0, 0, 6, 6), hbox=(0, 0, 2, 2), head_attr={'ignore': 1}),
        box((0, 0, 7, 7), hbox=(0, 0, 3, 3)),
    ]
    assert read(tmp_path, line(*boxes))[1].ignored.tolist() == [True, True, False, False]
    assert read(tmp_path, line(*boxes), box='hbox')[1].ignored.tolist() == [True, True, True, False]


def test_whole_bodies_end_at_the_border(tmp_path):
    _, annotations = read(tmp_path, line(box((-3, 4, 10, 20))))
    assert annotations.bboxes.tolist() == [[0, 4, 7, 10]] and annotations.areas.tolist() == [42]


@pytest.mark.parametrize(
    ('entry', 'reason'),
    [
        (box((1, 2, 3)), "no list of 4 numbers 'fbox'"),
        (box((1, 2, 0, 3)), 'a width or height of 0x3'),
        (box((1, 2, 'x', 3)), "the coordinate 'x'"),
        (box((30, 2, 5, 3)), 'no area inside the image'),
        (box(tag=None), 'no mapping with a tag'),
        (7, 'no mapping with a tag'),
    ],
)
def test_a_box_that_breaks_a_rule_is_left_out_alone(tmp_path, entry, reason):
    dataset, annotations = read(tmp_path, line(entry, box()))
    assert len(annotations) == 1
    assert reasons(dataset.skipped) == [found for found in reasons(dataset.skipped) if reason in found] != []
    assert dataset.skipped[0].where == 'line 1, box 1'


def test_lines_that_cannot_be_used_and_other_tags(tmp_path):
    dataset, annotations = read(
        tmp_path, '', line(box(), box(tag='rider')), '{"ID": "x"}', '[', line(name='gone'), line(name='273271,c9db')
    )
    assert len(dataset) == 1 and len(annotations) == 1
    assert [skip.where for skip in dataset.skipped] == ['line 5', 'line 3', 'line 4', 'line 6']
    assert "class 'rider'" in dataset.unused[0].where


@pytest.mark.parametrize('text', ['', '{"images": []}', '[1]\n[2]', 'x'])
def test_what_is_no_such_file_is_refused(tmp_path, text):
    (tmp_path / 'train.odgt').write_text(text)
    with pytest.raises(DataError, match='is no odgt of CrowdHuman'):
        CrowdHumanDataset('train.odgt', data_root=str(tmp_path))
    with pytest.raises(DataError, match='cannot be read'):
        CrowdHumanDataset('val.odgt', data_root=str(tmp_path))


sides = st.lists(st.floats(-5, 25), min_size=4, max_size=4)
boxes = st.builds(box, sides, sides, sides, st.sampled_from(['person', 'mask', 'rider']), extra=st.none() | values)
whole = st.tuples(*[st.floats(0, 9)] * 2, *[st.floats(1, 20)] * 2).map(lambda sides: box(sides, sides, sides))
lines = st.lists(whole | boxes | boxes.flatmap(replaced) | values, max_size=4).map(lambda own: line(*own))
files = st.lists(lines | values.map(json.dumps), max_size=3).map(lambda own: '\n'.join(own).encode('utf-8', 'replace'))


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('cases', AMOUNTS)
def test_damaged_files(tmp_path, cases):
    write_image(tmp_path / 'Images/273271,c9db.jpg', 20, 10)
    seen = {'kept': 0, 'skipped': 0}

    def check(case: tuple[bytes, str]) -> None:
        (tmp_path / 'train.odgt').write_bytes(case[0])
        dataset = CrowdHumanDataset('train.odgt', box=case[1], data_root=str(tmp_path), max_skipped=1)
        seen['kept'] += check_sound(dataset)
        seen['skipped'] += len(dataset.skipped)

    run_fuzz(cases, st.tuples(files | damaged(files), st.sampled_from(['fbox', 'vbox', 'hbox'])), check)
    assert min(seen.values()) > cases // 10
