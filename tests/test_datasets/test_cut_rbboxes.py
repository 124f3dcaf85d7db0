"""Rotated boxes that the frame cuts keep their direction, as in ultralytics."""

from pathlib import Path

import numpy as np
import pytest

from detkit.datasets.transforms.scene_objects import place_objects
from detkit.structures.annotations import Annotations
from detkit.structures.rotated_bboxes import corners_to_rbboxes, rbbox_hulls
from detkit.structures.scene import Scene

RECORDED = Path(__file__).parents[1] / 'parity' / 'ultralytics_cut_obb.npz'


def cut(rbboxes: np.ndarray, size: tuple[int, int], matrix: np.ndarray | None = None) -> Annotations:
    labels = np.zeros(len(rbboxes), np.int64)
    annotations = Annotations(labels, rbbox_hulls(rbboxes), np.zeros(len(rbboxes), bool), rbboxes=rbboxes)
    scene = Scene.of_image(np.zeros((*size, 3), np.uint8), annotations, 'drawn')
    return place_objects(scene if matrix is None else scene.moved(matrix, size)).annotations


def test_cut_boxes_equal_ultralytics():
    recorded = np.load(RECORDED)
    size = tuple(recorded['size'].tolist())
    found = cut(recorded['rbboxes'], size)
    seen = recorded['bboxes'].any(1)
    assert 5 < np.isclose(found.rbboxes, recorded['rbboxes'], atol=1e-3).all(1).sum() < seen.sum() - 20
    assert np.abs(found.bboxes - recorded['bboxes'])[seen].max() < 1e-3
    expected = corners_to_rbboxes(recorded['corners'])
    assert np.abs(found.rbboxes - expected)[seen][:, :4].max() < 2e-3
    turned = np.abs(found.rbboxes[:, 4] - expected[:, 4])[seen]
    assert np.minimum(turned, np.pi - turned).max() < 1e-3 and not found.rbboxes[~seen, 2:4].any()


@pytest.mark.parametrize('angle', [0.3, 2.0])
def test_the_direction_is_that_of_the_moved_box(angle):
    half_turned = np.array([[np.cos(0.5), -np.sin(0.5), 80], [np.sin(0.5), np.cos(0.5), -30], [0, 0, 1]])
    box = np.array([[50, 60, 80, 30, angle]], np.float32)
    (found,) = cut(box, (100, 100), half_turned).rbboxes
    assert found[4] == pytest.approx((angle + 0.5 + np.pi / 4) % np.pi - np.pi / 4, abs=1e-4)
    assert 0 < found[2] * found[3] < 80 * 30 - 100
