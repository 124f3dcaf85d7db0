"""Exact overlaps of rotated boxes, against an independent way and against what is known."""

import numpy as np
import pytest
import torch

from detkit.structures.rotated_iou import nearby_pairs, pairwise_rotated_iou, rotated_intersections, rotated_iou
from detkit.structures.rotated_tensors import rbbox_corners


def random_boxes(count: int, seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    centres, sides = rng.uniform(0, 60, (count, 2)), rng.uniform(2, 50, (count, 2))
    return torch.from_numpy(np.concatenate([centres, sides, rng.uniform(-4, 4, (count, 1))], 1))


def cut_area(subject: np.ndarray, clip: np.ndarray) -> float:
    """One pair at a time, corner by corner: the textbook's way."""

    def cross(o, a, b):
        return (a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0])

    polygon = [tuple(point) for point in subject]
    for a, b in zip(clip, np.roll(clip, -1, 0), strict=True):
        out = []
        for p, q in zip(polygon, polygon[1:] + polygon[:1], strict=True):
            inside_p, inside_q = cross(a, b, p), cross(a, b, q)
            if inside_p >= 0:
                out.append(p)
            if (inside_p >= 0) != (inside_q >= 0):
                t = inside_p / (inside_p - inside_q)
                out.append((p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1])))
        polygon = out
    return abs(sum(p[0] * q[1] - p[1] * q[0] for p, q in zip(polygon, polygon[1:] + polygon[:1], strict=True))) / 2


def test_none():
    empty = torch.zeros(0, 5)
    assert rotated_iou(empty, empty).shape == (0,)
    assert pairwise_rotated_iou(empty, random_boxes(3, 0)).shape == (0, 3)
    assert pairwise_rotated_iou(random_boxes(3, 0), empty).shape == (3, 0)


def test_equals_the_textbook():
    first, second = random_boxes(300, 1), random_boxes(300, 2)
    expected = [
        cut_area(a, b) for a, b in zip(rbbox_corners(first).numpy(), rbbox_corners(second).numpy(), strict=True)
    ]
    found = rotated_intersections(first, second).numpy()
    assert found == pytest.approx(expected, abs=1e-6)
    assert (found == 0).sum() > 10 and (found > 100).sum() > 10
    assert rotated_intersections(second, first).numpy() == pytest.approx(expected, abs=1e-6)


def test_known_overlaps():
    box = [10.0, 10.0, 4.0, 4.0, 0.0]
    others = torch.tensor(
        [
            box,
            [10, 10, 4, 4, np.pi / 4],
            [12, 10, 4, 4, 0],
            [14, 10, 4, 4, 0],
            [10, 10, 2, 2, 0.3],
            [10, 10, 40, 1, 0.2],
            [10, 10, 4, 4, np.pi / 2],
            [99, 10, 4, 4, 0],
            [10, 10, 0, 4, 0],
        ]
    )
    octagon = 32 * (2**0.5 - 1)
    across = 4 / np.cos(0.2)
    expected = [1, octagon / (32 - octagon), 1 / 3, 0, 4 / 16, across / (56 - across), 1, 0, 0]
    assert rotated_iou(torch.tensor([box]).expand(len(others), 5), others).numpy() == pytest.approx(expected, abs=1e-6)


def test_boxes_that_nearly_coincide():
    boxes = random_boxes(200, 3)
    noisy = boxes + torch.from_numpy(np.random.default_rng(4).normal(size=boxes.shape) * 1e-12)
    assert rotated_iou(boxes, noisy).numpy() == pytest.approx(np.ones(200), abs=1e-8)
    turned = boxes[:, [0, 1, 3, 2, 4]] + torch.tensor([0, 0, 0, 0, np.pi / 2], dtype=torch.float64)
    assert rotated_iou(boxes, turned).numpy() == pytest.approx(np.ones(200), abs=1e-8)


def test_far_from_the_origin_in_single_precision():
    boxes = random_boxes(50, 5)
    far = boxes + torch.tensor([4096.0, 4096.0, 0, 0, 0])
    assert rotated_iou(far[:25].float(), far[25:].float()).numpy() == pytest.approx(
        rotated_iou(boxes[:25], boxes[25:]).numpy(), abs=1e-3
    )


def test_pairs_that_are_left_out_do_not_overlap():
    first, second = random_boxes(40, 6), random_boxes(60, 7)
    rows, columns = (index.flatten() for index in torch.meshgrid(torch.arange(40), torch.arange(60), indexing='ij'))
    all_pairs = rotated_iou(first[rows], second[columns]).view(40, 60)
    assert len(nearby_pairs(first, second)[0]) < all_pairs.numel()
    assert torch.equal(pairwise_rotated_iou(first, second), all_pairs)
    allowed = torch.arange(60) % 2 == 0
    assert torch.equal(pairwise_rotated_iou(first, second, allowed.expand(40, 60)), all_pairs * allowed)


def test_many_pairs_are_worked_on_in_parts(monkeypatch):
    first, second = random_boxes(100, 8), random_boxes(100, 9)
    whole = rotated_iou(first, second)
    monkeypatch.setattr('detkit.structures.rotated_iou._CHUNK', 7)
    assert torch.equal(rotated_iou(first, second), whole)
