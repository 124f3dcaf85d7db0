"""Taking label files apart."""

from functools import partial

import numpy as np
import pytest

from detkit.datasets.formats.yolo_labels import parse_keypoints, parse_labels, parse_outlines


def test_no_files_and_empty_files():
    for texts in ([], [b''], [b'', b'\n \n']):
        table = parse_labels(texts, 3)
        assert len(table.labels) == 0 and table.bboxes.shape == (0, 4) and table.points.shape == (0, 2)
        assert table.skipped == [] and table.unused == []


def test_boxes_and_outlines_in_one_file():
    table = parse_labels([b'1 0.5 0.5 0.2 0.4\n2 0.1 0.2 0.5 0.3 0.3 0.6', b'0 0.25 0.25 0.5 0.5'], 3)
    assert table.files.tolist() == [0, 0, 1]
    assert table.labels.tolist() == [1, 2, 0]
    np.testing.assert_allclose(table.bboxes, [[0.4, 0.3, 0.6, 0.7], [0.1, 0.2, 0.5, 0.6], [0, 0, 0.5, 0.5]])
    assert table.ring_sizes.tolist() == [0, 3, 0]
    np.testing.assert_allclose(table.points, [[0.1, 0.2], [0.5, 0.3], [0.3, 0.6]])


@pytest.mark.parametrize(
    ('line', 'reason'),
    [
        ('0 0.5 0.5 0.2', '4 values'),
        ('0', '1 values'),
        ('0 0.5 0.5 0.2 0.2 0.9', '6 values'),
        ('zero 0.5 0.5 0.2 0.2', 'no number'),
        ('0 0.5 nan 0.2 0.2', 'no number'),
        ('0 0.5 0.5 inf 0.2', 'no number'),
        ('0,0.5,0.5,0.2,0.2', 'no number'),
        ('0 0.5 1.2.3 0.2 0.2', 'no number'),
        ('0 0.5 0.5 0_1 0.2', "no number ('0_1')"),
        ('0_0 0.5 0.5 0.1 0.2', "no number ('0_0')"),
        ('3 0.5 0.5 0.2 0.2', 'class id 3'),
        ('-1 0.5 0.5 0.2 0.2', 'class id -1'),
        ('1.5 0.5 0.5 0.2 0.2', 'class id 1.5'),
        ('0 1.5 0.5 0.2 0.2', 'outside [0, 1]'),
        ('0 0.1 0.1 0.5 0.1 0.5 -0.02', 'outside [0, 1]'),
        ('0 0.5 0.5 0 0.2', 'no width or no height'),
        ('0 0.1 0.1 0.5 0.1 0.7 0.1', 'no width or no height'),
        ('0 0.5 0.5 0.2 0.2 0.9', 'a box and a confidence, as predictions have it?'),
        ('0 .1 .1 .5 .1 .5 .6 .1 .6 .9', 'four corners and a confidence'),
        ('0 0.5 0.5 0.2 0.2' + ' .4 .6 2' * 17, 'a box with 17 keypoints? Set kpt_shape: [17, 3] in the data yaml'),
        ('0 0,5 0,5 0,2 0,2', 'a decimal comma: write 0.5 in place of 0,5'),
        ('0,0.5,0.5,0.2,0.2', 'spaces separate the values, no commas'),
        ('bolt 0.5 0.5 0.2 0.2', "the class is given by its id, no name ('bolt')"),
        ('stop sign 0.5 0.5 0.2 0.2', "the class is given by its id, no name ('stop')"),
        ('0 0.5 0.5 0.2 0.2 # bolt', "no number ('#')"),
        ('0 320 240 64 48', 'as if in pixels: divide x by the width of the image'),
        ('0 10 20 90 20 90 80 10 80', 'as if in pixels'),
        ('0 1e308 1e308 1 1 0 0 -1e308 1e308', 'as if in pixels'),
        ('1e300 0.5 0.5 0.2 0.2', 'class id 1e+300'),
    ],
)
def test_a_bad_line_is_left_out_alone(line, reason):
    text = f'1 0.5 0.5 0.2 0.2\n\n{line}\n2 0.5 0.5 0.4 0.4\n'.encode()
    table = parse_labels([b'0 0.5 0.5 0.1 0.1', text], 3)
    assert table.labels.tolist() == [0, 1, 2]
    assert [note[:2] for note in table.skipped] == [(1, 3)]
    assert reason in table.skipped[0].reason


def test_ids_that_count_from_one():
    table = parse_labels([b'1 0.5 0.5 0.2 0.2', b'3 0.5 0.5 0.2 0.2'], 3)
    (note,) = table.skipped
    assert 'class id 3, where a whole number from 0 to 2 is expected; the ids seem to count from 1' == note.reason
    assert 'id 7' not in parse_labels([b'7 0.5 0.5 0.2 0.2'], 3).skipped[0].kind  # counted together, whatever the id


def test_comments_are_counted_but_not_broken():
    table = parse_labels([b'# class cx cy w h\n0 0.5 0.5 0.2 0.2\n#1 0.5 0.5 0.2 0.2'], 2)
    assert table.labels.tolist() == [0] and table.skipped == []
    assert [note[:3] for note in table.unused] == [(0, 1, 'a comment'), (0, 3, 'a comment')]


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16', 'utf-16-le'])
def test_encodings(encoding):
    table = parse_labels(['0 0.5 0.5 0.2 0.2\r\n1\t0.5\t0.5\t0.2\t0.2'.encode(encoding), b'1 0.5 0.5 0.2 0.2'], 2)
    if encoding == 'utf-16-le':  # no mark says so
        assert table.files.tolist() == [1] and 'NUL bytes: save the file as UTF-8' in table.skipped[0].reason
    else:
        assert table.labels.tolist() == [0, 1, 1] and table.skipped == []


POSE3 = ['0 .5 .5 .4 .4 .4 .6 2 .5 .7 1 0 0 0 .6 .6 2', '1 .3 .6 .2 .4 .3 .6 2 .3 .7 1 .3 .5 1 .35 .6 2']
POSE2 = ['0 .5 .5 .4 .4 .4 .55 .5 .45 .45 .5 .6 .6', '1 .3 .6 .2 .4 .3 .6 .3 .7 .3 .5 .35 .6']


@pytest.mark.parametrize(('lines', 'num_values'), [(POSE3, 3), (POSE2, 2)])
def test_lines_with_keypoints(lines, num_values):
    """Their box is read where the keypoints are known; else no outline is drawn through them."""
    text = '\n'.join([*lines, '0 .5 .5 .1 .1']).encode()
    table = parse_labels([text], 2, partial(parse_outlines, keypoint_shape=(4, num_values)))
    assert table.labels.tolist() == [0, 1, 0] and not table.ring_sizes.any()
    np.testing.assert_allclose(table.bboxes[1], [0.2, 0.4, 0.4, 0.8])
    assert [(note.line, note.count) for note in table.unused] == [(1, 1), (2, 1)]

    many = [line.replace('.6', f'.6{i}') for i in range(3) for line in lines]
    table = parse_labels(['\n'.join([*many, '0 .5 .5 .1 .1']).encode()], 2)
    assert table.labels.tolist() == [0] and len(table.skipped) == 6
    assert f'look like a box with 4 keypoints, no outline: set kpt_shape: [4, {num_values}]' in table.skipped[0].reason


def test_outlines_of_one_length_are_no_keypoints():
    """Small objects, whose first two points would make a box around the others."""
    rng = np.random.default_rng(0)
    angles = np.arange(6) * np.pi / 3
    ring = np.stack([np.cos(angles), np.sin(angles)], 1) * 0.05
    lines = ['0 ' + ' '.join(f'{value:.4f}' for value in (rng.uniform(0.3, 0.6, 2) + ring).ravel()) for _ in range(40)]
    table = parse_labels(['\n'.join(lines).encode()], 1)
    assert len(table.labels) == 40 and table.skipped == []


def test_corners_partly_outside_are_clipped():
    table = parse_labels([b'0 0.5 0.5 1.3 0.5 1.3 0.9 0.5 0.9\n0 1.2 .1 1.5 .1 1.5 .4 1.2 .4'], 1)
    np.testing.assert_allclose(table.bboxes, [[0.5, 0.5, 1, 0.9]])
    assert table.ring_sizes.tolist() == [4] and table.points.max() == 1
    assert [note.line for note in table.skipped] == [2]


def test_slightly_outside_is_clipped():
    table = parse_labels([b'0 1.005 0.5 0.2 0.2\n0 -0.01 0.1 0.5 0.1 0.5 0.5'], 1)
    assert table.skipped == []
    np.testing.assert_allclose(table.bboxes, [[0.9, 0.4, 1, 0.6], [0, 0.1, 0.5, 0.5]])
    assert table.points[0].tolist() == [0, 0.1]


def test_line_ends_and_byte_order_mark():
    unix = parse_labels([b'0 0.5 0.5 0.2 0.2\n1 0.5 0.5 0.2 0.2\nx'], 2)
    for end in (b'\r\n', b'\r'):
        other = parse_labels([b'\xef\xbb\xbf0 0.5 0.5 0.2 0.2' + end + b'1\t0.5  0.5 0.2 0.2' + end + b'x'], 2)
        np.testing.assert_array_equal(other.bboxes, unix.bboxes)
        assert other.skipped == unix.skipped and other.skipped[0][:3] == (0, 3, "a value that is no number ('x')")


def test_repeated_lines_are_left_out_once_per_file():
    text = b'0 0.5 0.5 0.2 0.2\n0 0.50 0.5 0.2 0.2\n1 0.5 0.5 0.2 0.2\n0 0.5 0.5 0.2 0.2'
    table = parse_labels([text, text[:18]], 2)
    assert table.labels.tolist() == [0, 1, 0]
    assert table.files.tolist() == [0, 0, 1]
    assert [entry[:2] for entry in table.unused] == [(0, 2), (0, 4)]
    # The same bounding box does not make the same outline.
    outlines = b'0 0.1 0.1 0.5 0.1 0.5 0.5\n0 0.1 0.1 0.5 0.1 0.1 0.5\n0 0.1 0.1 0.5 0.1 0.5 0.5'
    table = parse_labels([outlines], 1)
    assert len(table.labels) == 2 and [entry[:2] for entry in table.unused] == [(0, 3)]


def test_files_larger_than_a_chunk(monkeypatch):
    texts = [b'\n'.join(b'%d 0.5 0.5 0.%d 0.2' % (i % 3, i + 1) for i in range(n)) for n in (5, 0, 9, 1, 2)] + [b'x']
    whole = parse_labels(texts, 3)
    monkeypatch.setattr('detkit.datasets.formats.yolo_labels._CHUNK_BYTES', 30)
    parts = parse_labels(texts, 3)
    for name in ('files', 'labels', 'bboxes', 'ring_sizes', 'points'):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    assert parts.skipped == whole.skipped and [note[:2] for note in parts.skipped] == [(5, 1)]


def test_against_reading_line_by_line():
    rng = np.random.default_rng(0)
    lines = []
    for _ in range(200):
        size = int(rng.integers(3, 12))
        values = rng.random(4 if rng.random() < 0.3 else 2 * size)
        lines.append(f'{rng.integers(9)} ' + ' '.join(f'{value:.6f}' for value in values))
    table = parse_labels(['\n'.join(lines[i : i + 20]).encode() for i in range(0, 200, 20)], 9)
    point = 0
    for number, line in enumerate(lines):
        label, *values = map(float, line.split())
        assert table.files[number] == number // 20 and table.labels[number] == label
        if len(values) == 4:
            (cx, cy, w, h), size = values, 0
            expected = np.clip([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], 0, 1)
        else:
            xy = np.array(values).reshape(-1, 2)
            expected, size = [*xy.min(0), *xy.max(0)], len(xy)
            np.testing.assert_array_equal(table.points[point : point + size], xy)
        assert table.ring_sizes[number] == size
        np.testing.assert_allclose(table.bboxes[number], expected, atol=1e-12)
        point += size


def test_boxes_beyond_the_image_are_cut_and_named():
    table = parse_labels([b'0 .1 .5 .4 .2\n1 .1 .5 .21 .2'], 2)
    np.testing.assert_allclose(table.bboxes, [[0, 0.4, 0.3, 0.6], [0, 0.4, 0.205, 0.6]])
    assert [(note.line, note.reason) for note in table.unused] == [
        (1, 'a box that reaches beyond the image: the part inside is used')
    ]
    many = '\n'.join(f'1 .1 .5 .{i} .2' for i in range(300, 500)).encode()
    (note,) = parse_labels([b'', many], 2).unused
    assert (note.file, note.line, note.count) == (1, 1, 200)


@pytest.mark.parametrize('keypoints', ['', ' .5 .5 2'])
def test_two_corners_in_place_of_centre_and_size_are_refused(keypoints):
    lines = [
        f'0 {x:.2f} {y:.2f} {x + 0.4:.2f} {y + 0.3:.2f}{keypoints}' for x in (0.1, 0.3, 0.5) for y in (0, 0.2, 0.4, 0.6)
    ]
    parse = partial(parse_keypoints, keypoint_shape=(1, 3)) if keypoints else None
    table = parse_labels(['\n'.join(lines).encode()], 1, parse)
    assert len(table.labels) == 0 and len(table.skipped) == 12 and table.unused == []
    assert all('x0, y0, x1, y1 in place of a width and a height?' in note.reason for note in table.skipped)
    table = parse_labels(['\n'.join(lines[:5]).encode()], 1, parse)  # too few to tell
    assert len(table.labels) == 5 and table.unused


def test_a_wrong_count_is_taken_for_keypoints_only_where_visibilities_are():
    reasons = [
        parse_labels([line], 1).skipped[0].reason for line in (b'0 .1 .1 .5 .1 .5 .5 .1', b'0 .5 .5 .2 .2 .5 .5 2')
    ]
    assert reasons[0].endswith('(an outline with a coordinate too many or too few?)')
    assert reasons[1].endswith('(a box with 1 keypoint? Set kpt_shape: [1, 3] in the data yaml)')
