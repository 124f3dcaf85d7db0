"""Parts of a head for rotated boxes: coder, overlap, losses, assigner, suppression."""

from importlib import import_module
from math import pi

import numpy as np
import pytest
import torch

from detkit.models.assigners import RotatedTaskAlignedAssigner
from detkit.models.coders import DistancePointBBoxCoder, RotatedDistanceCoder
from detkit.models.losses import ProbIoULoss, RotationLoss, prob_iou
from detkit.models.postprocess import batched_nms, batched_rotated_nms
from detkit.models.postprocess.rotated_nms import rotated_nms
from detkit.models.priors import PointPriorGenerator, PointPriors
from detkit.structures.gt_batch import GtBatch
from detkit.structures.rotated_iou import pairwise_rotated_iou
from detkit.structures.rotated_tensors import normalize_rbboxes
from detkit.structures.targets import Candidates

NMS = import_module('detkit.models.postprocess.rotated_nms')  # the package has a function of that name


def random_boxes(count: int, seed: int, span: float = 60.0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    centres, sides = rng.uniform(0, span, (count, 2)), rng.uniform(8, 40, (count, 2))
    return torch.from_numpy(np.concatenate([centres, sides, rng.uniform(-4, 4, (count, 1))], 1))


def gt_of(rbboxes: torch.Tensor, labels: torch.Tensor | None = None) -> GtBatch:
    """Of boxes ``(B, M, 5)``; rows of zeros are padding."""
    valid = rbboxes[..., 2] > 0
    labels = torch.zeros_like(valid, dtype=torch.int64) if labels is None else labels
    return GtBatch(
        labels=torch.where(valid, labels, -1),
        bboxes=torch.zeros(*valid.shape, 4),
        valid=valid,
        flat_index=valid.flatten().nonzero().squeeze(1),
        img_shapes=torch.tensor([[64, 64]] * len(valid)),
        rbboxes=rbboxes,
    )


# -- coder ----------------------------------------------------------------------------------------------------------


def test_coder_round_trip_over_the_whole_circle():
    coder = RotatedDistanceCoder()
    angles = torch.linspace(-pi, pi, 181, dtype=torch.float64)
    boxes = torch.stack([torch.full_like(angles, value) for value in (50.0, 40.0, 60.0, 24.0)] + [angles], -1)
    points = torch.tensor([52.0, 43.0], dtype=torch.float64).expand(len(boxes), 2)
    strides = torch.full_like(angles, 8)
    distances = coder.encode(points, boxes, strides)
    assert ((distances > 0) & (distances < 15 - coder.margin)).all()
    assert torch.allclose(coder.decode(points, distances, strides, angles), boxes)


def test_coder_at_angle_0_is_the_upright_one():
    points, distances = torch.rand(20, 2) * 50, torch.rand(20, 4) * 10
    x0, y0, x1, y1 = DistancePointBBoxCoder().decode(points, distances, 4.0).unbind(-1)
    boxes = RotatedDistanceCoder().decode(points, distances, 4.0)
    assert torch.allclose(boxes, torch.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, x0 * 0], -1), atol=1e-5)


def test_distances_run_along_the_sides_of_the_turned_box():
    point, quarter = torch.tensor([[10.0, 10.0]]), torch.tensor([pi / 2])
    box = RotatedDistanceCoder().decode(point, torch.tensor([[1.0, 2.0, 5.0, 4.0]]), angles=quarter)
    # A quarter turn clockwise: the box's right is down, its bottom is left.
    assert box[0].tolist() == pytest.approx([9, 12, 6, 6, pi / 2], abs=1e-5)


def test_distances_out_of_range_are_clamped():
    coder = RotatedDistanceCoder()
    distances = coder.encode(torch.zeros(1, 2), torch.tensor([[0.0, 0.0, 100.0, 2.0, 0.4]]))
    assert distances[0].tolist() == pytest.approx([14.99, 1, 14.99, 1])
    assert (
        RotatedDistanceCoder(reg_max=1).encode(torch.zeros(1, 2), torch.tensor([[0.0, 0.0, 100.0, 2.0, 0.4]]))[0, 0]
        == 50
    )


def test_angles_cover_the_range():
    angles = RotatedDistanceCoder.angles(torch.tensor([-50.0, 0.0, 50.0]))
    assert angles.tolist() == pytest.approx([-pi / 4, pi / 4, 3 * pi / 4], abs=1e-5)
    wanted = torch.linspace(-pi / 4 + 0.01, 3 * pi / 4 - 0.01, 50)
    assert torch.allclose(RotatedDistanceCoder.angles(RotatedDistanceCoder.angle_logits(wanted)), wanted, atol=1e-5)


# -- overlap and losses ---------------------------------------------------------------------------------------------


def test_overlap_of_equal_boxes_is_1_whichever_way_they_are_written():
    boxes = random_boxes(50, 0)
    assert torch.allclose(prob_iou(boxes, boxes), torch.ones(50).double(), atol=1e-3)
    assert torch.allclose(prob_iou(boxes, normalize_rbboxes(boxes)), torch.ones(50).double(), atol=1e-3)


def test_overlap_falls_with_distance_and_ignores_a_squares_angle():
    box = torch.tensor([0.0, 0.0, 20.0, 10.0, 0.0])
    moved = torch.stack([box + torch.tensor([shift, 0, 0, 0, 0]) for shift in (0.0, 2.0, 5.0, 12.0, 100.0)])
    overlaps = prob_iou(moved, box)
    assert (overlaps.diff() < 0).all() and overlaps[-1] < 1e-3 and overlaps[3] > 0
    square = torch.tensor([[0.0, 0.0, 20.0, 20.0, 0.0], [0.0, 0.0, 20.0, 20.0, 0.6]])
    assert prob_iou(square[0], square[1]) > 0.999


def test_overlap_of_a_box_without_extent_is_finite():
    point = torch.zeros(1, 5, requires_grad=True)
    overlap = prob_iou(point, torch.tensor([[3.0, 4.0, 20.0, 10.0, 0.3]]), extra_variance=0.01)
    overlap.sum().backward()
    assert torch.isfinite(overlap).all() and torch.isfinite(point.grad).all()


@pytest.mark.parametrize('loss', [ProbIoULoss(loss_weight=7.5), RotationLoss()])
def test_losses_of_nothing_are_0(loss):
    for shape in ((0, 5), (2, 0, 5), (3, 4, 5)):
        boxes = torch.ones(shape, requires_grad=True)
        value = loss(
            boxes if isinstance(loss, ProbIoULoss) else boxes[..., 4],
            torch.ones(shape),
            torch.zeros(shape[:-1]),
            torch.tensor(1.0),
        )
        value.backward()
        assert value == 0 and not boxes.grad.any()


def test_box_loss_is_weighted_and_averaged():
    boxes, targets = random_boxes(6, 1), random_boxes(6, 2)
    weight = torch.tensor([0, 0.5, 1, 0, 0.2, 0]).double()
    expected = 3 * ((1 - prob_iou(boxes, targets, 0.01)) * weight).sum() / 4
    assert ProbIoULoss(loss_weight=3.0)(boxes, targets, weight, 4.0) == pytest.approx(expected.item())


def test_angle_loss_has_a_period_of_a_quarter_turn_and_spares_long_boxes():
    loss = RotationLoss()

    def of(difference: float, w: float = 10.0) -> float:
        target = torch.tensor([[0.0, 0.0, w, 10.0, 0.3]])
        return loss(torch.tensor([0.3 + difference]), target, torch.ones(1), 1.0).item()

    assert of(0) == pytest.approx(0) and of(pi / 2) == pytest.approx(0, abs=1e-6)
    assert of(pi / 4) == pytest.approx(1) and of(0.1) == pytest.approx(np.sin(0.2) ** 2)
    assert of(0.1, 100) == pytest.approx(np.sin(0.2) ** 2 * np.exp(-(np.log(10) ** 2) / 9))


# -- assigner -------------------------------------------------------------------------------------------------------


def priors(size: int = 64) -> PointPriors:
    return PointPriorGenerator((8, 16, 32))([(size // stride,) * 2 for stride in (8, 16, 32)])


def test_assigner_without_objects():
    points = priors().points
    for gt in (gt_of(torch.zeros(2, 0, 5)), gt_of(torch.zeros(2, 3, 5))):
        result = RotatedTaskAlignedAssigner()(
            Candidates(torch.zeros(2, len(points), 4), torch.ones(2, len(points), 5)), priors(), gt
        )
        assert result.prior_idx.shape[:2] == gt.labels.shape and not result.valid.any() and not result.scores.any()


def test_positives_lie_inside_the_turned_box():
    points, strides = priors()
    rbboxes = torch.tensor([[[32.0, 32.0, 60.0, 17.0, 0.8], [0.0, 0.0, 0.0, 0.0, 0.0]]])
    predicted = torch.cat([points, strides[:, None] * 4, strides[:, None] * 2, torch.full_like(points[:, :1], 0.8)], 1)
    result = RotatedTaskAlignedAssigner()(
        Candidates(torch.zeros(1, len(points), 2), predicted[None]), priors(), gt_of(rbboxes)
    )
    assert result.valid[0, 0].sum() >= 8 and not result.valid[0, 1].any()
    chosen = points[result.prior_idx[result.valid]] - 32
    cos, sin = np.cos(0.8), np.sin(0.8)
    along, across = chosen[:, 0] * cos + chosen[:, 1] * sin, chosen[:, 1] * cos - chosen[:, 0] * sin
    assert (along.abs() <= 30).all() and (across.abs() <= 8.5).all()
    # Of the points in its upright hull, some are outside of the box: at the corners of the hull.
    assert chosen.prod(1).min() > -(8.5**2)


def test_overlaps_are_measured_alike_on_any_device():
    points, _ = priors()
    assigner = RotatedTaskAlignedAssigner()
    gt = gt_of(torch.stack([random_boxes(4, 3), random_boxes(4, 4)]))
    predicted, logits = random_boxes(2 * len(points), 5).view(2, -1, 5), torch.randn(2, len(points), 3).double()
    inside = assigner._points_inside(points.double(), gt.rbboxes, gt.valid)
    pairs = assigner._measure_pairs(inside, logits, predicted, gt.rbboxes, gt.labels)
    dense = assigner._measure_all(inside, logits, predicted, gt.rbboxes, gt.labels)
    for one, other in zip(pairs, dense, strict=True):
        assert torch.allclose(one, other)


def test_slivers_are_assigned_nothing_and_small_boxes_are_enlarged():
    points, _ = priors()
    rbboxes = torch.tensor([[[20.0, 20.0, 40.0, 1.9, 0.4], [33.0, 33.0, 5.0, 3.0, 0.2]]])
    valid = torch.ones(1, 2, dtype=torch.bool)
    inside = RotatedTaskAlignedAssigner()._points_inside(points, rbboxes, valid)
    assert not inside[0, 0].any()
    assert inside[0, 1].sum() >= 4
    as_it_is = RotatedTaskAlignedAssigner(min_side=0)._points_inside(points, rbboxes, valid)
    assert not as_it_is[0, 1].any()


# -- suppression ----------------------------------------------------------------------------------------------------


def plain_nms(boxes: torch.Tensor, labels: torch.Tensor, iou_thr: float) -> list[int]:
    overlaps, kept = pairwise_rotated_iou(boxes, boxes), []
    for i in range(len(boxes)):
        if all(labels[i] != labels[j] or overlaps[i, j] <= iou_thr for j in kept):
            kept.append(i)
    return kept


def test_suppression_of_nothing():
    empty = torch.zeros(0, 5)
    assert rotated_nms(empty, torch.zeros(0, dtype=torch.int64), 0.5).tolist() == []
    (found,) = batched_rotated_nms(torch.rand(1, 9, 5), torch.zeros(1, 9, 4))
    assert found.bboxes.shape == (0, 5) and found.labels.shape == (0,)


@pytest.mark.parametrize('block', [3, 512])
@pytest.mark.parametrize('iou_thr', [0.1, 0.5])
def test_greedy_suppression_is_the_plain_one(iou_thr, block, monkeypatch):
    monkeypatch.setattr(NMS, '_BLOCK', block)
    boxes = random_boxes(120, 6)
    labels = torch.from_numpy(np.random.default_rng(7).integers(0, 3, 120))
    expected = plain_nms(boxes, labels, iou_thr)
    assert rotated_nms(boxes, labels, iou_thr).tolist() == expected
    assert rotated_nms(boxes, labels, iou_thr, max_num=5).tolist() == expected[:5]
    assert rotated_nms(boxes, None, iou_thr).tolist() == plain_nms(boxes, labels * 0, iou_thr)


@pytest.mark.parametrize('block', [3, 512])
@pytest.mark.parametrize('overlap', ['iou', 'prob_iou'])
def test_fast_suppression_lets_the_suppressed_suppress(overlap, block, monkeypatch):
    monkeypatch.setattr(NMS, '_BLOCK', block)
    boxes = random_boxes(150, 8)
    overlaps = prob_iou(boxes[:, None], boxes) if overlap == 'prob_iou' else pairwise_rotated_iou(boxes, boxes)
    for iou_thr in (0.2, 0.7):
        expected = (~(overlaps.tril(-1) > iou_thr).any(1)).nonzero().squeeze(1)
        assert torch.equal(rotated_nms(boxes, None, iou_thr, overlap=overlap, greedy=False), expected)
    chain = torch.tensor([[shift, 0.0, 10.0, 10.0, 0.0] for shift in (0.0, 3.0, 6.0)])
    assert rotated_nms(chain, None, 0.5).tolist() == [0, 2]
    assert rotated_nms(chain, None, 0.5, greedy=False).tolist() == [0]


def test_upright_boxes_are_suppressed_as_upright_ones():
    rng = np.random.default_rng(9)
    bboxes = torch.from_numpy(np.sort(rng.uniform(0, 60, (2, 80, 2, 2)), 2).reshape(2, 80, 4))
    scores = torch.from_numpy(rng.uniform(0, 1, (2, 80, 3)))
    centres, sides = (bboxes[..., :2] + bboxes[..., 2:]) / 2, bboxes[..., 2:] - bboxes[..., :2]
    rotated = torch.cat([centres, sides, torch.zeros(2, 80, 1)], -1)
    for extra in (dict(), dict(multi_label=False), dict(class_agnostic=True), dict(classes=[1]), dict(max_per_img=7)):
        settings = dict(score_thr=0.2, iou_thr=0.4, **extra)
        expected = batched_nms(bboxes, scores, **settings)
        found = batched_rotated_nms(rotated, scores, overlap='iou', greedy=True, **settings)
        for one, other in zip(found, expected, strict=True):
            assert one.prior_idx.tolist() == other.prior_idx.tolist() and one.labels.tolist() == other.labels.tolist()


def test_an_overlap_that_does_not_exist():
    with pytest.raises(ValueError, match='prob_iou'):
        rotated_nms(torch.rand(3, 5), None, 0.5, overlap='giou')
