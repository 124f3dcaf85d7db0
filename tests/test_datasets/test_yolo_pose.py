"""YOLO label files with keypoints."""

from functools import partial

import numpy as np
import pytest
from format_helpers import write_yolo

from detkit.datasets import YoloTxtDataset
from detkit.datasets.collate import collate
from detkit.datasets.formats.yolo_labels import parse_keypoints, parse_labels
from detkit.utils.errors import ConfigError, DataError

BOX = '0.5 0.5 0.4 0.4'
PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomFlip', prob=1.0),
    dict(type='Render'),
    dict(type='PackInputs'),
]


def parse(texts, shape=(2, 3), num_classes=2):
    return parse_labels(texts, num_classes, partial(parse_keypoints, keypoint_shape=shape))


def test_no_files_and_empty_files():
    for texts in ([], [b''], [b'', b'\n \n']):
        table = parse(texts)
        assert len(table.labels) == 0 and table.bboxes.shape == (0, 4) and table.keypoints.shape == (0, 2, 3)
        assert table.skipped == [] and table.unused == []


def test_three_values():
    table = parse([b'', f'1 {BOX} .4 .6 2 .5 .7 1\n0 {BOX} 0 0 0 0 0 0'.encode()])
    assert table.files.tolist() == [1, 1] and table.labels.tolist() == [1, 0]
    np.testing.assert_allclose(table.bboxes, [[0.3, 0.3, 0.7, 0.7]] * 2)
    np.testing.assert_allclose(table.keypoints[0], [[0.4, 0.6, 2], [0.5, 0.7, 1]])
    assert not table.keypoints[1].any()  # an object stays that has no labelled keypoint


def test_two_values_are_labelled_unless_negative():
    table = parse([f'0 {BOX} 0 0 .5 .7\n0 {BOX} .1 .2 -1 .5'.encode()], (2, 2))
    np.testing.assert_allclose(table.keypoints, [[[0, 0, 1], [0.5, 0.7, 1]], [[0.1, 0.2, 1], [0, 0, 0]]])
    assert table.skipped == []
    (note,) = table.unused
    assert note.line == 1 and 'keypoints at 0 0, which count as labelled: write -1 -1' in note.reason
    (note,) = parse([f'0 {BOX} 0 0 0 .5 .7 1\n1 {BOX} 0 0 2 .5 .7 1'.encode()]).unused
    assert note.line == 2 and 'write the visibility 0' in note.reason


@pytest.mark.parametrize(
    ('line', 'reason'),
    [
        (f'0 {BOX}', '5 values, where a box with 2 keypoints of 3 values each has 11'),
        (f'0 {BOX} .4 .6 2 .5 .7', '10 values, where a box with 2 keypoints of 3 values each has 11'),
        (f'0 {BOX} .4 .6 2 .5 .7 1 0', '12 values, where'),
        (f'0 {BOX} .4 .6 2 .5 .7 x', 'no number'),
        (f'2 {BOX} .4 .6 2 .5 .7 1', 'class id 2'),
        ('0 0.5 1.5 0.4 0.4 .4 .6 2 .5 .7 1', 'coordinate of the box outside'),
        (f'0 {BOX} .4 1.6 2 .5 .7 1', 'a keypoint outside [0, 1]'),
        (f'0 {BOX} 40 16 2 50 17 1', 'a keypoint far outside [0, 1], as if in pixels'),
        (f'0 {BOX} .4 .6 3 .5 .7 1', 'a visibility of a keypoint that is not 0, 1 or 2'),
        (f'0 {BOX} .4 .6 2 .5 .7 .9', 'a visibility of a keypoint that is not 0, 1 or 2'),
        (f'0 {BOX} .4 .6 2 .5 .7 -1', 'a visibility of a keypoint that is not 0, 1 or 2'),
        ('0 0.5 0.5 0 0.4 .4 .6 2 .5 .7 1', 'no width or no height'),
    ],
)
def test_a_bad_line_is_left_out_alone(line, reason):
    good = f'1 {BOX} .4 .6 2 .5 .7 1'
    table = parse([good.encode(), f'{good}\n\n{line}\n0 {BOX} .1 .1 2 .5 .7 1'.encode()])
    assert table.labels.tolist() == [1, 1, 0] and table.keypoints.shape == (3, 2, 3)
    assert [note[:2] for note in table.skipped] == [(1, 3)]
    assert reason in table.skipped[0].reason


def test_tolerance_repeats_and_chunks(monkeypatch):
    monkeypatch.setattr('detkit.datasets.formats.yolo_labels._CHUNK_BYTES', 30)
    line = f'0 {BOX} 1.005 -.005 2 7 7 0'  # coordinates of what is not labelled mean nothing
    table = parse([line.encode(), f'{line}\n{line}'.encode()])
    assert table.files.tolist() == [0, 1] and table.skipped == []
    assert [note[:3] for note in table.unused] == [(1, 2, 'the same as an earlier line')]
    np.testing.assert_allclose(table.keypoints[0], [[1, 0, 2], [0, 0, 0]])


def test_data_set_and_its_report(tmp_path):
    good = f'1 {BOX} .4 .6 2 .5 .7 1 0 0 0'
    root = write_yolo(tmp_path, {'a': good, 'b': f'{good}\n0 {BOX} .4 .6 2', 'c': '', 'd': None})
    data = YoloTxtDataset(
        'images/train',
        labels='pose',
        keypoint_shape=(3, 3),
        data_root=str(root),
        max_skipped=1,
        metainfo=dict(classes=('cat', 'dog'), keypoint_names=('l_eye', 'r_eye', 'nose')),
    )
    path, line, reason, *_ = data.skipped[0]
    assert path.endswith('b.txt') and line == 2
    assert reason == '8 values, where a box with 3 keypoints of 3 values each has 14'
    own = data.records[0].annotations
    np.testing.assert_allclose(own.keypoints, [[[8, 6, 2], [10, 7, 1], [0, 0, 0]]])
    assert own.keypoints.dtype == np.float32
    np.testing.assert_allclose(own.areas, [8 * 4 * 0.53])
    assert data.records[2].annotations.keypoints.shape == (0, 3, 3)
    assert data.metainfo['flip_pairs'] == ((0, 1),) and data.metainfo['sigmas'] == (1 / 3,) * 3


def test_data_yaml(tmp_path):
    root = write_yolo(tmp_path, {'a': f'1 {BOX} .4 .6 .5 .7 .1 .1'})
    yaml = 'train: images/train\nnames: [cat, dog]\nkpt_shape: [3, 2]\n'
    (root / 'data.yaml').write_text(yaml + 'flip_idx: [1, 0, 2]\nkpt_names:\n  0: [a, b, c]\n')
    data = YoloTxtDataset(data_yaml='data.yaml', labels='pose', data_root=str(root))
    assert data.keypoint_shape == (3, 2)
    assert data.metainfo['flip_pairs'] == ((0, 1),) and data.metainfo['keypoint_names'] == ('a', 'b', 'c')
    assert data.records[0].annotations.keypoints[0, :, 2].tolist() == [1, 1, 1]
    given = YoloTxtDataset(data_yaml='data.yaml', labels='pose', data_root=str(root), metainfo=dict(flip_pairs=()))
    assert given.metainfo['flip_pairs'] == ()
    with pytest.raises(DataError, match=r'says kpt_shape: \[3, 2\], but keypoint_shape .* is \(3, 3\)'):
        YoloTxtDataset(data_yaml='data.yaml', labels='pose', keypoint_shape=(3, 3), data_root=str(root))
    for extra, reason in [
        ('flip_idx: [1, 2, 0]', 'flip_idx'),
        ('flip_idx: [1, 0]', 'flip_idx'),
        ('kpt_names: [a, b]', 'should list 3 names'),
    ]:
        (root / 'data.yaml').write_text(yaml + extra)
        with pytest.raises(DataError, match=reason):
            YoloTxtDataset(data_yaml='data.yaml', labels='pose', data_root=str(root))
    (root / 'data.yaml').write_text('train: images/train\nnames: [cat, dog]\nkpt_shape: [3]\n')
    with pytest.raises(DataError, match='kpt_shape'):
        YoloTxtDataset(data_yaml='data.yaml', labels='pose', data_root=str(root))


def test_wrong_arguments(tmp_path):
    root = write_yolo(tmp_path, {'a': ''})
    options = dict(data_root=str(root), metainfo=dict(classes=('cat',)))
    with pytest.raises(DataError, match='needs keypoint_shape'):
        YoloTxtDataset('images/train', labels='pose', **options)
    with pytest.raises(ConfigError, match="labels='poes' is not one of"):
        YoloTxtDataset('images/train', labels='poes', **options)


@pytest.mark.parametrize(('pairs', 'flips'), [(((0, 1),), True), ((), True), (None, False)])
def test_images_are_mirrored_where_pairs_are_known(tmp_path, pairs, flips):
    root = write_yolo(tmp_path, {'a': '0 .2 .5 .4 .4 .1 .5 2 .4 .5 1', 'b': ''})
    data = YoloTxtDataset(
        'images/train',
        labels='pose',
        keypoint_shape=(2, 3),
        data_root=str(root),
        pipeline=PIPELINE,
        metainfo=dict(classes=('cat',), flip_pairs=pairs),
    )
    for _ in range(2):  # nothing that samples share is changed
        gt = collate([data[0], data[1]])['gt']
        assert gt.keypoints.shape == (2, 1, 2, 3) and not gt.keypoints[1].any()
        expected = {None: [[2, 5, 2], [8, 5, 1]], (): [[18, 5, 2], [12, 5, 1]]}.get(pairs, [[12, 5, 1], [18, 5, 2]])
        np.testing.assert_allclose(gt.keypoints[0, 0].numpy(), expected, atol=1e-4)
        assert (gt.bboxes[0, 0, 0] > 10) == flips


def test_outside_the_frame_is_invisible(tmp_path):
    """As in the reference: visibility 0 beyond the frame, the border itself inside."""
    root = write_yolo(tmp_path, {'a': f'0 {BOX} .5 .5 2 1 .5 2 .1 .1 1'})
    shift = dict(type='RandomAffine', translate=0, scale=0)
    data = YoloTxtDataset(
        'images/train',
        labels='pose',
        keypoint_shape=(3, 3),
        data_root=str(root),
        pipeline=[dict(type='LoadImageFromFile'), shift, dict(type='Render')],
        metainfo=dict(classes=('cat',)),
    )
    assert data[0].annotations.keypoints[0, :, 2].tolist() == [2, 2, 1]
    data.transforms[1].draw_matrix = lambda *_: np.array([[1, 0, 2], [0, 1, 0], [0, 0, 1.0]])
    moved = data[0].annotations.keypoints[0]
    np.testing.assert_allclose(moved, [[12, 5, 2], [22, 5, 0], [4, 1, 1]], rtol=1e-6)


def test_ground_truth_of_a_test(tmp_path):
    root = write_yolo(tmp_path, {'a': f'0 {BOX} .5 .5 2'})
    data = YoloTxtDataset(
        'images/train',
        labels='pose',
        keypoint_shape=(1, 3),
        data_root=str(root),
        test_mode=True,
        metainfo=dict(classes=('cat',)),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LetterBox', size=64),
            dict(type='Render'),
            dict(type='PackInputs'),
        ],
    )
    batch = collate([data[0]])
    np.testing.assert_allclose(batch['gt'].keypoints[0, 0], [[32, 32, 2]])
    np.testing.assert_allclose(batch['data_samples'][0].gt_instances.keypoints, [[[10, 5, 2]]])
