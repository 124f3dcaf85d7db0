"""Box arithmetic and rotated boxes."""

import numpy as np
import pytest

from detkit.structures.bboxes import (
    bbox_areas,
    bbox_corners,
    bbox_overlap_ratios,
    clip_bboxes,
    cxcywh_to_xyxy,
    xyxy_to_cxcywh,
)
from detkit.structures.rotated_bboxes import corners_to_rbboxes, move_rbboxes, normalize_rbboxes, rbbox_corners

BOXES = np.array([[0, 0, 4, 2], [2, 1, 6, 5]], np.float32)


def test_empty():
    empty = np.zeros((0, 4), np.float32)
    assert bbox_areas(empty).shape == (0,)
    assert bbox_corners(empty).shape == (0, 4, 2)
    assert bbox_overlap_ratios(empty, BOXES).shape == (0, 2)
    assert rbbox_corners(np.zeros((0, 5))).shape == (0, 4, 2)


def test_areas_clip_and_overlaps():
    assert bbox_areas(BOXES).tolist() == [8, 16]
    assert clip_bboxes(BOXES, (1, 1, 3, 3)).tolist() == [[1, 1, 3, 2], [2, 1, 3, 3]]
    assert bbox_overlap_ratios(BOXES, BOXES).tolist() == [[1, 2 / 16], [2 / 8, 1]]
    assert bbox_overlap_ratios(BOXES, np.zeros((1, 4))).tolist() == [[0], [0]]


def test_formats_round_trip():
    assert xyxy_to_cxcywh(BOXES).tolist() == [[2, 1, 4, 2], [4, 3, 4, 4]]
    assert cxcywh_to_xyxy(xyxy_to_cxcywh(BOXES)).tolist() == BOXES.tolist()


def test_rbbox_worked_example():
    corners = rbbox_corners(np.array([[10, 10, 4, 2, np.pi / 4]]))
    assert corners[0, 2] == pytest.approx([10.7071, 12.1213], abs=1e-4)


@pytest.mark.parametrize('seed', range(5))
def test_rbbox_corners_round_trip(seed):
    rng = np.random.default_rng(seed)
    rbboxes = np.concatenate([rng.uniform(0, 50, (20, 2)), rng.uniform(1, 30, (20, 2)), rng.uniform(-4, 4, (20, 1))], 1)
    normal = normalize_rbboxes(rbboxes)
    assert (normal[:, 2] >= normal[:, 3]).all()
    assert ((normal[:, 4] >= -np.pi / 4) & (normal[:, 4] < 3 * np.pi / 4)).all()
    back = corners_to_rbboxes(rbbox_corners(rbboxes))
    np.testing.assert_allclose(back[:, :4], normal[:, :4], rtol=1e-4, atol=1e-3)
    turn = (back[:, 4] - normal[:, 4] + np.pi / 2) % np.pi - np.pi / 2  # angles count modulo pi
    np.testing.assert_allclose(turn, 0, atol=1e-3)


def test_rbbox_moves_by_a_matrix():
    quarter = np.array([[0, -1, 20], [1, 0, 0], [0, 0, 1]], float)  # clockwise on the screen
    moved = move_rbboxes(np.array([[5, 3, 4, 2, 0.2]], np.float32), quarter)
    assert moved[0] == pytest.approx([17, 5, 4, 2, 0.2 + np.pi / 2], abs=1e-5)
    mirror = np.diag([-2.0, 2.0, 1.0])
    assert move_rbboxes(np.array([[5, 3, 4, 2, 0.2]], np.float32), mirror)[0] == pytest.approx(
        [-10, 6, 8, 4, -0.2], abs=1e-5
    )
