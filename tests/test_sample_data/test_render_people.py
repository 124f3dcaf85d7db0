"""The drawn people: layout, labels, and joints that lie where they are drawn."""

import hashlib

import cv2
import numpy as np
import pytest

from detkit.sample_data import coco8_pose
from detkit.sample_data.coco8_pose import pose_lines, render_coco8_pose, render_crowds
from detkit.sample_data.rendering.anatomy import Pose, rotation, stand_up
from detkit.sample_data.rendering.canvas import Canvas
from detkit.sample_data.rendering.crowd import SeenPerson
from detkit.sample_data.rendering.person import draw_person
from detkit.sample_data.rendering.solids import tube
from detkit.structures.keypoints import COCO_KEYPOINTS
from detkit.utils.rng import keyed_rng

HANGING = {(side, limb): (0.0, 0.0) for side in ('left', 'right') for limb in ('upper_arm', 'forearm', 'thigh', 'shin')}
INDEX = {name: i for i, name in enumerate(COCO_KEYPOINTS)}


@pytest.fixture(scope='module')
def crowds():
    return {split: list(render_crowds(split, 6)) for split in ('train', 'val')}


@pytest.mark.thorough
def test_files(tmp_path, crowds, monkeypatch):
    monkeypatch.setattr(coco8_pose, 'render_crowds', lambda split, count, seed: {0: crowds}[seed][split][:count])
    render_coco8_pose(tmp_path, num_train=2, num_val=1)
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob('*') if path.is_file())
    assert files == [
        f'{kind}/{split}/{number:012d}.{suffix}'
        for kind, suffix in (('images', 'jpg'), ('labels', 'txt'))
        for split, number in (('train', 1), ('train', 2), ('val', 3))
    ]
    for split, number, index in (('train', 1, 0), ('train', 2, 1), ('val', 3, 0)):
        image = cv2.imread(str(tmp_path / f'images/{split}/{number:012d}.jpg'))
        drawn, people = crowds[split][index]
        assert image.shape == drawn.shape and max(image.shape) in (560, 640)
        assert np.abs(image[..., ::-1].astype(int) - drawn).mean() < 6
        lines = (tmp_path / f'labels/{split}/{number:012d}.txt').read_text().splitlines()
        assert lines == pose_lines(drawn.shape[:2], people)


def test_the_same_every_time_and_another_for_another_seed(crowds):
    first, people = next(render_crowds('train', 1))
    assert hashlib.md5(first.tobytes()).digest() == hashlib.md5(crowds['train'][0][0].tobytes()).digest()
    np.testing.assert_array_equal(people[0].keypoints, crowds['train'][0][1][0].keypoints)
    other, _ = next(render_crowds('train', 1, seed=1))
    assert (other != first).mean() > 0.5
    assert (crowds['val'][0][0] != first).mean() > 0.5


def test_labels_are_valid(crowds):
    number, facing, seen_values = 0, [], set()
    for image, people in crowds['train'] + crowds['val']:
        h, w = image.shape[:2]
        assert 2 <= len(people) <= 5
        for line, person in zip(pose_lines((h, w), people), people, strict=True):
            values = np.array(line.split(), float)
            assert len(values) == 5 + 17 * 3 and values[0] == 0
            cx, cy, bw, bh = values[1:5]
            assert bw > 0.03 and bh > 0.15
            assert min(cx - bw / 2, cy - bh / 2) > -1e-5 and max(cx + bw / 2, cy + bh / 2) < 1 + 1e-5
            x, y, seen = values[5:].reshape(17, 3).T
            assert set(seen) <= {0, 1, 2} and (seen > 0).sum() >= 6
            assert (x[seen == 0] == 0).all() and (y[seen == 0] == 0).all()
            assert ((x >= 0) & (x < 1) & (y >= 0) & (y < 1)).all()
            # what is seen lies in the box
            px, py = x * w, y * h
            x0, y0, x1, y1 = person.bbox
            inside = (px > x0 - 3) & (px < x1 + 3) & (py > y0 - 3) & (py < y1 + 3)
            assert inside[seen == 2].all()
            seen_values |= set(seen)
            number += 1
            shoulders = person.keypoints[[INDEX['left_shoulder'], INDEX['right_shoulder']]]
            facing.append(np.sign(shoulders[0, 0] - shoulders[1, 0]) if shoulders[:, 2].all() else 0)
    assert number > 34 and seen_values == {0, 1, 2}
    assert facing.count(1) > 10 and facing.count(-1) > 4  # people who face the viewer, and who do not


def test_a_line_of_known_numbers():
    keypoints = np.zeros((17, 3))
    keypoints[0], keypoints[16] = (30, 10, 2), (50, 40, 1)
    (line,) = pose_lines((50, 100), [SeenPerson(np.array([20, 5, 60, 45.0]), keypoints)])
    values = line.split()
    assert values[:5] == ['0', '0.400000', '0.500000', '0.400000', '0.800000']
    assert values[5:8] == ['0.300000', '0.200000', '2'] and values[-3:] == ['0.500000', '0.800000', '1']
    assert values[8:-3] == ['0.000000', '0.000000', '0'] * 15


def test_left_is_on_the_right_of_who_faces_the_viewer():
    front, back, side = (stand_up(Pose(HANGING), facing, (0, 0), 0).joints for facing in (0, 180, 90))
    for part in ('shoulder', 'elbow', 'wrist', 'hip', 'knee', 'ankle'):
        assert front[f'left_{part}'][0] > front[f'right_{part}'][0]
        assert back[f'left_{part}'][0] < back[f'right_{part}'][0]
        # turned to the picture's right, the left side is the far one
        assert side[f'left_{part}'][2] < side[f'right_{part}'][2]
    assert side['left_toe'][0] > side['left_heel'][0]
    assert front['head'][1] < front['neck'][1] < 0 < front['left_knee'][1] < front['left_ankle'][1]


def test_limbs_keep_their_length_and_their_directions():
    rng = keyed_rng(4)
    limbs = {key: tuple(rng.uniform(-60, 120, 2)) for key in HANGING}
    for facing in (0, 50, 200):
        joints = stand_up(Pose(limbs, 5, 8), facing, (10, 5), 9).joints
        for side in ('left', 'right'):
            for first, second, length in (('shoulder', 'elbow', 0.28), ('hip', 'knee', 0.42), ('knee', 'ankle', 0.41)):
                bone = joints[f'{side}_{second}'] - joints[f'{side}_{first}']
                assert np.sqrt((bone**2).sum()) == pytest.approx(length)
    raised = stand_up(
        Pose({**HANGING, ('left', 'upper_arm'): (90, 0), ('right', 'thigh'): (0, 90)}), 0, (0, 0), 0
    ).joints
    np.testing.assert_allclose(raised['left_elbow'] - raised['left_shoulder'], (0.28, 0, 0), atol=1e-9)
    np.testing.assert_allclose(raised['right_knee'] - raised['right_hip'], (0, 0, 0.42), atol=1e-9)


@pytest.mark.parametrize('axis', [0, 1, 2])
def test_rotation(axis):
    matrix = rotation(axis, 90)
    first, second = ((1, 2), (2, 0), (0, 1))[axis]
    np.testing.assert_allclose(matrix @ np.eye(3)[first], np.eye(3)[second], atol=1e-12)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)


@pytest.mark.parametrize('facing', [0, 35, -70, 180, 150])
def test_joints_lie_on_the_drawing(facing):
    for seed in range(4):
        person = draw_person(keyed_rng(seed), 220, facing)
        alpha = person.sprite.alpha
        # nothing of the drawing is cut off by the sprite's border
        assert max(alpha[0].max(), alpha[-1].max(), alpha[:, 0].max(), alpha[:, -1].max()) < 0.1
        x, y = np.floor(person.keypoints @ person.sprite.matrix[:, :2].T + person.sprite.matrix[:, 2]).astype(int).T
        shown = person.seen > 0
        assert (cv2.dilate(alpha, np.ones((5, 5)))[y[shown], x[shown]] > 0.5).all()
        eyes = person.seen[[INDEX['nose'], INDEX['left_eye'], INDEX['right_eye']]]
        if abs(facing) < 40:
            assert (eyes > 0).all()
        elif facing == 180:
            assert (eyes == 0).all()
        assert person.sprite.rgb[alpha > 0.99].std(0).max() > 20


def test_far_arm_is_hidden_by_the_trunk():
    hidden = [draw_person(keyed_rng(seed), 200, 90).seen[INDEX['left_shoulder']] for seed in range(6)]
    near = [draw_person(keyed_rng(seed), 200, 90).seen[INDEX['right_shoulder']] for seed in range(6)]
    assert set(hidden) == {1} and near.count(2) >= 4


def test_tube_covers_what_it_should():
    canvas = Canvas((0, 0, 2, 1), 60)
    limb = tube(canvas, (0.5, 0.5), (1.5, 0.5), ((0, 0.1), (1, 0.2)))
    limb.paint((200, 100, 50), crease=0)
    area = canvas.finish().alpha.sum() / 60**2
    assert area == pytest.approx(0.3 + np.pi * (0.1**2 + 0.2**2) / 2, rel=0.02)
    middle = canvas.alpha[canvas.alpha.shape[0] // 2]
    columns = np.flatnonzero(middle > 0.5) / canvas.scale
    assert columns.min() == pytest.approx(0.4, abs=0.03) and columns.max() == pytest.approx(1.7, abs=0.03)
    cut = tube(canvas, (0.5, 0.5), (1.5, 0.5), ((0, 0.1), (1, 0.1)), round_ends=False)
    assert cut.mask.sum() / canvas.scale**2 == pytest.approx(0.2, rel=0.03)


def test_region_draws_into_its_canvas():
    whole, parts = (Canvas((-1, -1, 1, 1), 40, angle=30) for _ in range(2))
    whole.paint(whole.ellipse(0.3, 0.2, 0.2), (10, 200, 90))
    part = parts.region([(0.3, 0.2)], 0.3)
    assert part.alpha.size < parts.alpha.size / 4
    part.paint(part.ellipse(0.3, 0.2, 0.2), (10, 200, 90))
    np.testing.assert_array_equal(whole.rgb, parts.rgb)
    np.testing.assert_array_equal(whole.alpha, parts.alpha)
    assert parts.region([(5, 5)], 0.1).alpha.size == 0


@pytest.mark.parametrize('angle', [0, 30, 200])
@pytest.mark.parametrize('stretch', [(1, 1), (1, 0.4), (2.5, 1)])
def test_shapes_are_drawn_whole(angle, stretch):
    """Beside the pixels near a shape nothing is computed, and nothing else is covered."""
    canvas = Canvas((-1, -1, 1, 1), 40, angle, stretch)
    for cx, cy, half_w, half_h in ((0.3, 0.2, 0.5, 0.1), (-0.9, 0.1, 0.3, 0.3), (0, 0, 2, 2), (4, 0, 0.2, 0.2)):
        x, y = canvas.x - cx, canvas.y - cy
        ellipse = canvas.inside((np.hypot(x / half_w, y / half_h) - 1) * min(half_w, half_h))
        np.testing.assert_array_equal(canvas.ellipse(cx, cy, half_w, half_h), ellipse)
        dx, dy = np.abs(x) - half_w, np.abs(y) - half_h
        sharp = canvas.inside(np.hypot(np.maximum(dx, 0), np.maximum(dy, 0)) + np.minimum(np.maximum(dx, dy), 0))
        np.testing.assert_array_equal(canvas.box(cx, cy, half_w, half_h), sharp)
        assert (cx < 4) == bool(sharp.any()) == bool(ellipse.any())
