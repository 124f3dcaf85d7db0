"""The drawn aerial pictures: layout, labels, and boxes that fit what is drawn."""

from collections import Counter

import cv2
import numpy as np
import pytest

from detkit.datasets.class_names import DOTA15
from detkit.sample_data import dota8
from detkit.sample_data.dota8 import obb_lines, render_dota8, render_surveys
from detkit.sample_data.rendering.aerial import DRAWERS, Survey, oriented_corners
from detkit.sample_data.rendering.aerial_scenes import SCENES
from detkit.sample_data.rendering.canvas import Canvas
from detkit.utils.rng import keyed_rng


@pytest.fixture(scope='module')
def surveys():
    return {split: list(render_surveys(split, count)) for split, count in (('train', 10), ('val', 8))}


def sides(corners):
    return np.hypot(*(np.roll(corners, -1, 0) - corners).T)


@pytest.mark.thorough
def test_files(tmp_path, surveys, monkeypatch):
    monkeypatch.setattr(dota8, 'render_surveys', lambda split, count, seed: {0: surveys}[seed][split][:count])
    render_dota8(tmp_path, num_train=2, num_val=1)
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob('*') if path.is_file())
    assert files == [
        f'{kind}/{split}/{number:012d}.{suffix}'
        for kind, suffix in (('images', 'jpg'), ('labels', 'txt'))
        for split, number in (('train', 1), ('train', 2), ('val', 3))
    ]
    for split, number, index in (('train', 1, 0), ('train', 2, 1), ('val', 3, 0)):
        image = cv2.imread(str(tmp_path / f'images/{split}/{number:012d}.jpg'))
        drawn, objects = surveys[split][index]
        assert image.shape == drawn.shape == (640, 640, 3)
        assert np.abs(image[..., ::-1].astype(int) - drawn).mean() < 8
        lines = (tmp_path / f'labels/{split}/{number:012d}.txt').read_text().splitlines()
        assert lines == obb_lines((640, 640), objects)


def test_the_same_every_time_and_another_for_another_seed(surveys):
    image, objects = next(render_surveys('val', 1))
    np.testing.assert_array_equal(image, surveys['val'][0][0])
    np.testing.assert_array_equal(objects[0].corners, surveys['val'][0][1][0].corners)
    other, _ = next(render_surveys('val', 1, seed=1))
    assert (other != image).mean() > 0.5


def test_labels_are_valid(surveys):
    outside, headings = 0, []
    for image, objects in surveys['train'] + surveys['val']:
        lines = obb_lines(image.shape[:2], objects)
        assert 5 <= len(lines) <= 80
        for line in lines:
            values = np.array(line.split(), float)
            assert len(values) == 9 and values[0] in range(15)
            corners = values[1:].reshape(4, 2)
            assert corners.min() > -0.3 and corners.max() < 1.3
            centre = corners.mean(0)
            assert (centre > -0.05).all() and (centre < 1.05).all()
            outside += corners.min() < 0 or corners.max() > 1
            a, b, c, d = sides(corners * 640)
            assert min(a, b) > 8 and abs(a - c) < 0.01 and abs(b - d) < 0.01
            edges = np.diff(corners, axis=0)
            assert abs(edges[0] @ edges[1]) < 1e-4  # a rectangle
            assert edges[0, 0] * edges[1, 1] - edges[0, 1] * edges[1, 0] > 0  # clockwise on the screen
            headings.append(np.arctan2(*(corners[0] - corners[3])[::-1]))
    assert outside > 20
    assert (np.histogram(headings, 12, (-np.pi, np.pi))[0] > 5).all()  # at all angles


def test_every_val_class_can_be_learnt_from_train(surveys):
    counts = {split: Counter(item.name for _, objects in surveys[split] for item in objects) for split in surveys}
    assert set(counts['val']) == set(DRAWERS) <= set(DOTA15)
    for name in counts['val']:
        assert counts['train'][name] >= 2, name
    assert DOTA15.index('plane') == 0 and DOTA15.index('small vehicle') == 10 and DOTA15[14] == 'swimming pool'


@pytest.mark.parametrize('name', DRAWERS)
def test_boxes_fit_and_begin_at_the_head(name):
    for angle in (0, 33, 200):
        sprite = DRAWERS[name](keyed_rng(2), 120, angle, 1)
        alpha = sprite.alpha
        assert max(alpha[0].max(), alpha[-1].max(), alpha[:, 0].max(), alpha[:, -1].max()) < 0.1
        assert sprite.rgb[alpha > 0.99].std(0).max() > 10
        corners = oriented_corners(sprite)
        assert 0.85 * 120 < sides(corners)[1] < 1.1 * 120
        # the first side is the one ahead
        ahead = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
        assert (corners[0] + corners[1] - corners[2] - corners[3]) @ ahead > 150
        # nothing solid lies outside, and each side is touched
        ys, xs = np.nonzero(alpha > 0.5)
        points = np.column_stack([xs, ys]) + 0.5
        for i in range(4):
            edge = corners[(i + 1) % 4] - corners[i]
            inward = np.array([-edge[1], edge[0]]) / np.hypot(*edge)
            distance = (points - corners[i]) @ inward
            assert -0.01 < distance.min() < 1.0


def test_box_of_a_known_rectangle():
    canvas = Canvas((-0.6, -0.3, 0.6, 0.3), 100, 30)
    canvas.paint(canvas.box(0.1, 0, 0.4, 0.2), (200, 100, 0))
    sprite = canvas.finish()
    corners = oriented_corners(sprite)
    expected = (
        np.array([(0.5, -0.2), (0.5, 0.2), (-0.3, 0.2), (-0.3, -0.2)]) @ sprite.matrix[:, :2].T + sprite.matrix[:, 2]
    )
    np.testing.assert_allclose(corners, expected, atol=0.8)
    straight = oriented_corners(sprite, straight=True)
    np.testing.assert_allclose(straight.min(0), expected.min(0), atol=1.6)
    assert abs(straight[0] - straight[1]).min() < 1e-9


def test_survey_keeps_things_apart_and_in_the_picture():
    land = Survey(keyed_rng(1), 200, 40)
    land.lay(np.full((200, 200, 3), 120, np.float32))
    assert land.put('small vehicle', 0, 0, 10, 60, 0)
    assert not land.put('small vehicle', 8, 3, 90, 60, 0)  # taken
    assert not land.put('small vehicle', 300, 0, 0, 60, 0)  # outside
    land.keep_free(land.u > 40)
    assert not land.put('tree', 70, 0, 0, 30)
    assert land.put('tree', -70, 0, 0, 30) and land.sail(-10, 60, 0, 50, 0)
    image, objects = land.finish()
    assert image.shape == (200, 200, 3) and [item.name for item in objects] == ['small vehicle', 'ship']
    car = objects[0].corners
    np.testing.assert_allclose(car.mean(0), (100, 100), atol=1.5)
    heading = (car[0] + car[1] - car[2] - car[3]) / 2
    assert np.rad2deg(np.arctan2(heading[1], heading[0])) == pytest.approx(50, abs=0.01)
    u, v = land.anywhere(20)
    x, y = land.centre(u, v)
    assert 20 <= x <= 180 and 20 <= y <= 180
    assert land.u[int(y), int(x)] == pytest.approx(u, abs=1) and land.v[int(y), int(x)] == pytest.approx(v, abs=1)


@pytest.mark.parametrize('scene', SCENES, ids=lambda scene: scene.__name__)
def test_scenes_are_no_blank_sheets(scene, surveys):
    image, objects = surveys['val'][SCENES.index(scene)]
    assert len(objects) >= 5
    assert cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_32F).std() > 5
