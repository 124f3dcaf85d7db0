"""The task-aligned assigner against the rule written out point by point."""

import pytest
import torch
from gt_batches import make_gt

from detkit.models.assigners import TaskAlignedAssigner, task_aligned_assigner
from detkit.models.losses import aligned_iou
from detkit.models.priors import PointPriorGenerator, PointPriors
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import AssignResult, Candidates

SIZE, NUM_CLASSES = 64, 5


def at(points: torch.Tensor) -> PointPriors:
    return PointPriors(points, torch.ones_like(points[:, 0]))


def assign(logits: torch.Tensor, bboxes: torch.Tensor, points: torch.Tensor, gt: GtBatch) -> AssignResult:
    return TaskAlignedAssigner()(Candidates(logits, bboxes), at(points), gt)


def predictions(batch_size: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Class logits (B, P, C), boxes (B, P, 4) and points (P, 2), in float64 so that no two metrics are equal."""
    generator = torch.Generator().manual_seed(seed)
    points = PointPriorGenerator((8, 16, 32))([(8, 8), (4, 4), (2, 2)], dtype=torch.float64).points
    logits = torch.randn(batch_size, len(points), NUM_CLASSES, generator=generator, dtype=torch.float64)
    reach = torch.rand(batch_size, len(points), 4, generator=generator, dtype=torch.float64) * 30
    return logits, torch.cat([points - reach[..., :2], points + reach[..., 2:]], -1), points


def by_the_rule(
    logits: torch.Tensor,
    bboxes: torch.Tensor,
    points: torch.Tensor,
    gt: GtBatch,
    image: int,
    topk: int,
    min_side: float,
) -> dict[int, tuple[int, float]]:
    """For one image: point -> (box, soft target)."""
    count = int(gt.valid[image].sum())
    overlaps, metrics, chosen = {}, {}, {}
    for box in range(count):
        x0, y0, x1, y1 = gt.bboxes[image, box].tolist()
        half_w, half_h = max(x1 - x0, min_side) / 2, max(y1 - y0, min_side) / 2
        for point, (x, y) in enumerate(points.tolist()):
            if abs(x - (x0 + x1) / 2) < half_w and abs(y - (y0 + y1) / 2) < half_h:
                overlap = aligned_iou(gt.bboxes[image, box].double(), bboxes[image, point], 'ciou').clamp(min=0).item()
                score = logits[image, point, gt.labels[image, box]].sigmoid().item()
                overlaps[box, point], metrics[box, point] = overlap, score**0.5 * overlap**6
        mine = sorted((metrics[key], key[1]) for key in metrics if key[0] == box)[-topk:]
        for _, point in mine:
            chosen.setdefault(point, []).append(box)
    owner = {}
    for point, boxes in chosen.items():
        rivals = range(count) if len(boxes) > 1 else boxes
        owner[point] = max(rivals, key=lambda box: overlaps.get((box, point), 0.0))
    result = {}
    for point, box in owner.items():
        own = [p for p, b in owner.items() if b == box]
        best_metric, best_overlap = max(metrics[box, p] for p in own), max(overlaps[box, p] for p in own)
        result[point] = (box, metrics[box, point] * best_overlap / (best_metric + 1e-9))
    return result


def as_dict(result: AssignResult, image: int) -> dict[int, tuple[int, float]]:
    slots = result.valid[image]
    found = zip(
        result.prior_idx[image][slots].tolist(),
        result.gt_idx[image][slots].tolist(),
        result.scores[image][slots].tolist(),
        strict=True,
    )
    table = {point: (box, score) for point, box, score in found}
    assert len(table) == slots.sum(), 'a point was given away twice'
    return table


@pytest.mark.parametrize('counts', [[0, 0], [0, 4]])
def test_images_without_objects(counts):
    gt = make_gt(counts)
    result = assign(*predictions(2), gt)
    assert (
        result.prior_idx.shape
        == result.valid.shape
        == result.gt_idx.shape
        == result.scores.shape
        == (2, max(counts), 10)
    )
    assert not result.valid[0].any() and not result.scores[0].any() and not result.prior_idx[0].any()
    assert result.valid[1].any() == (counts[1] > 0)


@pytest.mark.parametrize('seed', range(6))
def test_equals_the_rule(seed):
    logits, bboxes, points = predictions(3, seed)
    gt = make_gt([6, 0, 3], seed=seed)
    result = TaskAlignedAssigner(topk=4)(Candidates(logits, bboxes), at(points), gt)
    for image in range(3):
        found, expected = as_dict(result, image), by_the_rule(logits, bboxes, points, gt, image, 4, 16.0)
        # Of candidates of metric 0 it is open which ones are taken; they weigh nothing in the soft target.
        assert {p: b for p, (b, score) in found.items() if score} == {p: b for p, (b, s) in expected.items() if s}
        for point, (_, score) in expected.items():
            if score:
                assert found[point][1] == pytest.approx(score, rel=1e-9)


@pytest.mark.parametrize('pairs_at_a_time', [1, 10**6])
@pytest.mark.parametrize('seed', range(4))
def test_the_way_of_a_gpu_gives_the_same(seed, pairs_at_a_time, monkeypatch):
    monkeypatch.setattr(task_aligned_assigner, 'DENSE_PAIRS', pairs_at_a_time)
    inputs = (*predictions(3, seed), make_gt([6, 0, 3], seed=seed))
    expected = assign(*inputs)
    monkeypatch.setattr(TaskAlignedAssigner, '_measure_pairs', TaskAlignedAssigner._measure_all)
    for found, wanted in zip(assign(*inputs), expected, strict=True):
        torch.testing.assert_close(found, wanted)


def one_box(bbox: list[float]) -> GtBatch:
    return GtBatch(
        labels=torch.tensor([[0]]),
        bboxes=torch.tensor([[bbox]]),
        valid=torch.tensor([[True]]),
        flat_index=torch.tensor([0]),
        img_shapes=torch.tensor([[SIZE, SIZE]]),
    )


@pytest.mark.parametrize(('min_side', 'expected'), [(16.0, {0, 1, 8, 9, 64}), (0.0, {64})])
def test_a_small_box_takes_the_points_around_it(min_side, expected):
    logits, _, points = predictions(1)
    bboxes = torch.cat([points - 2, points + 2], 1).unsqueeze(0)
    gt = one_box([6.5, 6.5, 9.5, 9.5])  # between four of stride 8, around one of stride 16
    bboxes[:] = gt.bboxes.double()  # all predict it, so that each candidate has a metric above 0
    result = TaskAlignedAssigner(min_side=min_side)(Candidates(logits, bboxes), at(points), gt)
    assert set(result.prior_idx[result.valid].tolist()) == expected


def test_a_third_box_may_win_a_contested_point():
    points = torch.tensor([[10.0, 10.0], [30.0, 30.0]], dtype=torch.float64)
    logits = torch.zeros(1, 2, 3, dtype=torch.float64)
    logits[..., 2] = -60.0  # the third box's class is not seen at all, its overlap is the best
    bboxes = torch.tensor([[[0.0, 0.0, 40.0, 40.0], [0.0, 0.0, 38.0, 38.0]]], dtype=torch.float64)
    gt = GtBatch(
        labels=torch.tensor([[0, 1, 2]]),
        valid=torch.ones(1, 3, dtype=torch.bool),
        flat_index=torch.arange(3),
        bboxes=torch.tensor([[[0.0, 0.0, 28.0, 40.0], [0.0, 0.0, 40.0, 28.0], [0.0, 0.0, 39.0, 40.0]]]),
        img_shapes=torch.tensor([[64, 64]]),
    )
    # Its own only choice is the second point, as the first one's class score is made lower still.
    logits[0, 0, 2] = -100.0
    result = TaskAlignedAssigner(topk=1, alpha=1.0, beta=1.0)(Candidates(logits, bboxes), at(points), gt)
    assert as_dict(result, 0).keys() == {0, 1}
    assert [box for box, _ in as_dict(result, 0).values()] == [2, 2]
    assert result.valid.sum() == 2, 'the third box has two positives with one slot of its own'
