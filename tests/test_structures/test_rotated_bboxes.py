"""Rotated boxes: one definition, conversions that give back what they were given, all round the circle."""

import cv2
import numpy as np
import pytest
import torch

from detkit.structures.polygons import Polygons
from detkit.structures.rotated_bboxes import (
    corners_to_rbboxes,
    enclosing_rbboxes,
    move_rbboxes,
    normalize_rbboxes,
    rbbox_corners,
    rbbox_hulls,
    rbboxes_to_xywhr,
    xywhr_to_rbboxes,
)
from detkit.structures.rotated_tensors import map_rbboxes
from detkit.structures.rotated_tensors import normalize_rbboxes as normalize_tensors
from detkit.structures.rotated_tensors import rbbox_corners as tensor_corners
from detkit.structures.rotated_tensors import rbbox_hulls as tensor_hulls

CIRCLE = np.linspace(-np.pi, 2 * np.pi, 400, endpoint=False) + 1e-3


def boxes_round_the_circle(w: float = 40.0, h: float = 15.0) -> np.ndarray:
    """A box at each of the angles, at places that differ too."""
    count = len(CIRCLE)
    return np.stack([100 + CIRCLE * 20, 50 - CIRCLE * 7, np.full(count, w), np.full(count, h), CIRCLE], 1)


def same_rectangles(one: np.ndarray, other: np.ndarray, tolerance: float = 1e-3) -> bool:
    """Compared by their corners, whichever comes first."""
    a, b = rbbox_corners(one.astype(np.float64)), rbbox_corners(other.astype(np.float64))
    distances = np.linalg.norm(a[:, :, None] - b[:, None], axis=-1)  # (N, 4, 4)
    return bool((distances.min(2) < tolerance).all() and (distances.min(1) < tolerance).all())


def test_worked_example():
    corners = rbbox_corners(np.array([[10, 10, 4, 2, np.pi / 4]]))
    assert corners[0, 2] == pytest.approx([10.71, 12.12], abs=0.01)


def test_none():
    empty = np.zeros((0, 5), np.float32)
    assert corners_to_rbboxes(rbbox_corners(empty)).shape == (0, 5)
    assert normalize_rbboxes(empty).shape == rbboxes_to_xywhr(empty).shape == (0, 5)
    assert rbbox_hulls(empty).shape == (0, 4)
    assert move_rbboxes(empty, np.eye(3)).shape == (0, 5)
    assert enclosing_rbboxes(Polygons(), np.ones(3)).tolist() == [[0.0] * 5] * 3
    assert normalize_tensors(torch.zeros(0, 5)).shape == map_rbboxes(torch.zeros(0, 5), torch.eye(3)).shape == (0, 5)


def test_corners_round_trip_over_the_whole_circle():
    boxes = boxes_round_the_circle()
    back = corners_to_rbboxes(rbbox_corners(boxes))
    assert same_rectangles(boxes, back)
    assert (back[:, 2] >= back[:, 3]).all()
    assert (back[:, 4] >= -np.pi / 4 - 1e-6).all() and (back[:, 4] < 3 * np.pi / 4).all()
    assert np.allclose(back, normalize_rbboxes(boxes), atol=1e-3)


@pytest.mark.parametrize('order', [[0, 1, 2, 3], [1, 2, 3, 0], [3, 2, 1, 0], [0, 2, 1, 3]])
def test_corners_in_any_order_give_the_same_box(order):
    boxes = boxes_round_the_circle()
    assert same_rectangles(boxes, corners_to_rbboxes(rbbox_corners(boxes)[:, order]))


def test_xywhr_round_trip_over_the_whole_circle():
    boxes = normalize_rbboxes(boxes_round_the_circle())
    xywhr = rbboxes_to_xywhr(boxes)
    assert (xywhr[:, 4] >= 0).all() and (xywhr[:, 4] < np.pi / 2).all()
    assert same_rectangles(boxes, xywhr)
    assert np.allclose(xywhr_to_rbboxes(xywhr), boxes, atol=1e-9)


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_range_is_half_open(dtype):
    angles = np.array([3 * np.pi / 4, -np.pi / 4, 7 * np.pi / 4, np.nextafter(3 * np.pi / 4, 0)], dtype)
    boxes = np.stack([np.zeros_like(angles)] * 2 + [np.full_like(angles, 4), np.full_like(angles, 2), angles], 1)
    normal = normalize_rbboxes(boxes)
    assert (normal[:, 4] < dtype(3 * np.pi / 4)).all() and (normal[:, 4] >= dtype(-np.pi / 4)).all()
    assert same_rectangles(boxes, normal, 1e-5)


def test_squares_keep_their_corners():
    boxes = boxes_round_the_circle(20.0, 20.0)
    assert same_rectangles(boxes, corners_to_rbboxes(rbbox_corners(boxes)))


def test_least_rectangle_around_any_points():
    points = np.random.default_rng(0).normal(size=(50, 6, 2)) * 30
    boxes = corners_to_rbboxes(points).astype(np.float64)
    cos, sin = np.cos(boxes[:, 4])[:, None], np.sin(boxes[:, 4])[:, None]
    offset = points - boxes[:, None, :2]
    along, across = offset[..., 0] * cos + offset[..., 1] * sin, offset[..., 1] * cos - offset[..., 0] * sin
    assert (np.abs(along) <= boxes[:, 2:3] / 2 + 1e-3).all() and (np.abs(across) <= boxes[:, 3:4] / 2 + 1e-3).all()
    least = [np.prod(cv2.minAreaRect(own.astype(np.float32))[1]) for own in points]
    assert boxes[:, 2:4].prod(1) == pytest.approx(least, rel=1e-3)


def test_points_that_coincide_or_line_up():
    same = np.full((1, 4, 2), 7.0)
    assert corners_to_rbboxes(same)[0] == pytest.approx([7, 7, 0, 0, 0])
    line = np.array([[[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [4.0, 4.0]]])
    assert corners_to_rbboxes(line)[0] == pytest.approx([2, 2, 32**0.5, 0, np.pi / 4], abs=1e-5)


def test_rings_of_several_sizes():
    ring = np.array([[0, 0], [4, 0], [4, 2], [0, 2], [-0.0, 1]], np.float32)
    outlines = Polygons(np.concatenate([ring[:4] + 10, ring]), np.array([4, 5]), np.array([0, 2]))
    boxes = enclosing_rbboxes(outlines, np.array([0, 1, np.pi / 2]))
    assert boxes[0] == pytest.approx([12, 11, 4, 2, 0])
    assert not boxes[1].any()
    assert boxes[2] == pytest.approx([2, 1, 4, 2, 0], abs=1e-6)
    turned = enclosing_rbboxes(outlines, np.full(3, np.pi / 4))
    assert turned[0] == pytest.approx([12, 11, 6 / 2**0.5, 6 / 2**0.5, turned[0, 4]])


def test_shear_moves_corners_and_encloses_them():
    sheared = move_rbboxes(np.array([[0, 0, 4, 2, 0]], np.float32), np.array([[1, 0.5, 0], [0, 1, 0], [0, 0, 1.0]]))
    corners = np.array([[[-2.5, -1], [1.5, -1], [2.5, 1], [-1.5, 1]]])
    assert sheared == pytest.approx(corners_to_rbboxes(corners))
    assert sheared[0, 2:4].prod() >= 8


def test_tensors_do_the_same():
    boxes = boxes_round_the_circle()
    tensors = torch.from_numpy(boxes)
    assert np.allclose(normalize_tensors(tensors).numpy(), normalize_rbboxes(boxes))
    assert np.allclose(tensor_corners(tensors).numpy(), rbbox_corners(boxes))
    assert np.allclose(tensor_hulls(tensors).numpy(), rbbox_hulls(boxes))


@pytest.mark.parametrize('mirrored', [False, True])
def test_mapped_tensors_move_like_their_corners(mirrored):
    cos, sin = 1.5 * np.cos(0.7), 1.5 * np.sin(0.7)
    matrix = np.array([[cos, -sin, 5], [sin, cos, -3], [0, 0, 1]])
    if mirrored:
        matrix = matrix @ np.diag([-1, 1, 1])
    boxes = boxes_round_the_circle()
    mapped = map_rbboxes(torch.from_numpy(boxes), torch.from_numpy(matrix)).numpy()
    assert same_rectangles(mapped, move_rbboxes(boxes, matrix))
    assert np.allclose(mapped, normalize_rbboxes(mapped))
