"""Ragged polygons: moved, cut and measured all at once."""

import cv2
import numpy as np
import pytest

from detkit.structures import Annotations, Polygons

SQUARE = [[0, 0], [4, 0], [4, 4], [0, 4]]
TRIANGLE = [[10, 10], [14, 10], [10, 18]]


def polygons(*rings, owners=None):
    points = np.concatenate([np.asarray(ring, np.float32) for ring in rings])
    sizes = np.array([len(ring) for ring in rings])
    return Polygons(points, sizes, np.arange(len(rings)) if owners is None else np.array(owners))


def test_empty():
    empty = Polygons()
    assert empty.bboxes(3).tolist() == np.zeros((3, 4)).tolist()
    assert empty.areas(2).tolist() == [0, 0]
    assert len(empty.clip((0, 0, 1, 1)).points) == 0 and empty.rings() == []
    assert len(empty.moved(np.eye(3)).points) == 0
    assert len(empty.select(np.zeros(0, bool)).points) == 0


def test_areas_and_boxes_of_several_rings():
    both = polygons(SQUARE, TRIANGLE, SQUARE, owners=[1, 1, 3])
    assert both.areas(5).tolist() == [0, 32, 0, 16, 0]
    assert both.bboxes(5)[1].tolist() == [0, 0, 14, 18]
    assert both.bboxes(5)[0].tolist() == [0, 0, 0, 0]


def test_select_renumbers():
    kept = polygons(SQUARE, TRIANGLE, SQUARE, owners=[0, 1, 3]).select(np.array([False, True, True, True]))
    assert kept.ring_owners.tolist() == [0, 2]
    assert kept.points[:3].tolist() == TRIANGLE


def test_concatenate_and_sort():
    joined = Polygons.concatenate([polygons(SQUARE), polygons(TRIANGLE)], [2, 1])
    assert joined.ring_owners.tolist() == [0, 2]
    mixed = Polygons(joined.points, joined.ring_sizes, np.array([5, 1])).sorted_by_owner()
    assert mixed.ring_owners.tolist() == [1, 5] and mixed.ring_sizes.tolist() == [3, 4]
    assert mixed.points[:3].tolist() == TRIANGLE and mixed.points[3:].tolist() == SQUARE


def test_clip_cuts_and_drops():
    cut = polygons(SQUARE, TRIANGLE).clip((1, 1, 3, 9))
    assert cut.ring_owners.tolist() == [0]
    assert cut.bboxes(2).tolist() == [[1, 1, 3, 4], [0, 0, 0, 0]]
    assert cut.areas(2).tolist() == [6, 0]


@pytest.mark.parametrize('seed', range(8))
def test_clip_equals_pixels_of_the_drawn_polygon(seed):
    rng = np.random.default_rng(seed)
    rings = []
    for _ in range(3):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
        radius = rng.uniform(20, 90, 9)[:, None]
        rings.append(np.stack([np.cos(angles), np.sin(angles)], 1) * radius + rng.uniform(0, 100, 2))
    rect = (20, 30, 80, 90)
    areas = polygons(*rings).clip(rect).areas(3)
    for ring, area in zip(rings, areas, strict=True):
        fine = np.zeros((1000, 1000), np.uint8)
        cv2.fillPoly(fine, [np.round(ring * 10 - 0.5).astype(np.int32)], 1)
        assert area == pytest.approx(fine[300:900, 200:800].sum() / 100, abs=8)


def test_perspective_divides():
    matrix = np.array([[1, 0, 0], [0, 1, 0], [0.1, 0, 1]])
    moved = polygons(SQUARE).moved(matrix).points
    assert moved[2] == pytest.approx([4 / 1.4, 4 / 1.4])


def test_annotations_select_and_concatenate():
    first = Annotations(np.array([3, 4]), np.array([[0, 0, 4, 4], [1, 1, 2, 2]], np.float32), polygons=polygons(SQUARE))
    second = Annotations(
        np.array([5]), np.array([[0, 0, 1, 1]], np.float32), keypoints=np.ones((1, 2, 3), np.float32), rles=[{'a': 1}]
    )
    joined = Annotations.concatenate([first, Annotations(), second])
    assert joined.labels.tolist() == [3, 4, 5] and joined.areas.tolist() == [16, 1, 1]
    assert joined.rles == [None, None, {'a': 1}]
    assert joined.keypoints.shape == (3, 2, 3) and joined.keypoints[:2].sum() == 0
    kept = joined.select(np.array([False, True, True]))
    assert kept.labels.tolist() == [4, 5] and kept.rles == [None, {'a': 1}] and len(kept.polygons.points) == 0


def test_annotations_reject_unequal_lengths():
    with pytest.raises(ValueError, match='keypoints has 2 rows for 1'):
        Annotations(np.zeros(1, np.int64), np.zeros((1, 4), np.float32), keypoints=np.zeros((2, 3, 3)))
