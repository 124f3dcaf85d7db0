"""SimOTA against its definition, one image and one object at a time, and the head that uses it."""

import pytest
import torch
import torch.nn.functional as F

from detkit.models.assigners import SimOTAAssigner, TaskAlignedAssigner, sim_ota_assigner
from detkit.models.losses import IoULoss
from detkit.models.losses.boxes import aligned_iou
from detkit.models.priors import PointPriorGenerator
from detkit.registry import HEADS
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import Candidates
from detkit.utils.errors import ComponentError

STRIDES, SIDE, NUM_CLASSES = (8, 16, 32), 96, 3


def make(seed: int, counts=(5, 0, 3)):
    """Random boxes around the points, which overlap with several objects, some of which share a centre."""
    rng = torch.Generator().manual_seed(seed)
    priors = PointPriorGenerator(STRIDES)([(SIDE // s, SIDE // s) for s in STRIDES], dtype=torch.float64)
    most, images, num = max(counts), len(counts), len(priors.points)
    halves = priors.strides[:, None] * (1 + 2 * torch.rand(images, num, 2, generator=rng, dtype=torch.float64))
    centres = priors.points + 4 * torch.randn(images, num, 2, generator=rng, dtype=torch.float64)
    bboxes = torch.cat([centres - halves, centres + halves], -1)
    gt_centres = torch.rand(images, most, 2, generator=rng) * SIDE
    gt_centres[:, 1:2] = gt_centres[:, :1] + 3
    gt_halves = 6 + 25 * torch.rand(images, most, 2, generator=rng)
    valid = torch.arange(most) < torch.tensor(counts).unsqueeze(1)
    gt = GtBatch(
        labels=torch.randint(NUM_CLASSES, (images, most), generator=rng).where(valid, torch.tensor(-1)),
        bboxes=torch.cat([gt_centres - gt_halves, gt_centres + gt_halves], -1) * valid.unsqueeze(-1),
        valid=valid,
        flat_index=valid.flatten().nonzero().squeeze(1),
        img_shapes=torch.tensor([[SIDE, SIDE]] * images),
    )
    logits = torch.randn(images, num, NUM_CLASSES, generator=rng, dtype=torch.float64)
    obj_logits = torch.randn(images, num, generator=rng, dtype=torch.float64)
    return Candidates(logits, bboxes, obj_logits=obj_logits), priors, gt


def by_definition(preds: Candidates, priors, gt: GtBatch, image: int, topk=10) -> dict[int, tuple[int, float]]:
    """The object and the overlap of each positive point of an image."""
    bboxes = gt.bboxes[image][gt.valid[image]].double()
    centres = (bboxes[:, :2] + bboxes[:, 2:]) / 2
    distances = (priors.points - centres[:, None]).abs().amax(-1) / priors.strides  # (M, P)
    near = distances < 1.5
    candidates = near.any(0).nonzero().squeeze(1).tolist()
    probs = preds.cls_logits[image].sigmoid()
    if preds.obj_logits is not None:
        probs = (probs * preds.obj_logits[image].sigmoid()[:, None]).sqrt()
    overlaps = aligned_iou(preds.bboxes[image], bboxes[:, None])
    costs = {}
    for box, label in enumerate(gt.labels[image][gt.valid[image]].tolist()):
        target = F.one_hot(torch.tensor(label), NUM_CLASSES).double()
        for point in candidates:
            cost = F.binary_cross_entropy(probs[point], target, reduction='sum')
            cost = cost - 3 * (overlaps[box, point] + 1e-8).log()
            costs[box, point] = cost.item() + 1e6 * (not near[box, point])
    claims: dict[int, list[int]] = {}
    for box in range(len(bboxes)):
        best = overlaps[box, candidates].sort(descending=True).values[:topk]
        for point in sorted(candidates, key=lambda point: costs[box, point])[: max(int(best.sum()), 1)]:
            claims.setdefault(point, []).append(box)
    found = {}
    for point, boxes in claims.items():
        box = boxes[0] if len(boxes) == 1 else min(range(len(bboxes)), key=lambda box: costs[box, point])
        found[point] = (box, overlaps[box, point].item())
    return found


def as_found(assigned, image: int) -> dict[int, tuple[int, float]]:
    valid = assigned.valid[image]
    points = assigned.prior_idx[image][valid].tolist()
    assert len(set(points)) == len(points), 'a point learns one object'
    pairs = zip(assigned.gt_idx[image][valid].tolist(), assigned.scores[image][valid].tolist(), strict=True)
    return dict(zip(points, pairs, strict=True))


def assert_same(found, expected) -> None:
    assert found.keys() == expected.keys()
    for point, (box, overlap) in expected.items():
        assert found[point] == (box, pytest.approx(overlap, rel=1e-6))


@pytest.mark.parametrize('with_objectness', [True, False])
@pytest.mark.parametrize('seed', range(4))
def test_the_assignment_is_that_of_the_definition(seed, with_objectness):
    preds, priors, gt = make(seed)
    preds = preds if with_objectness else preds._replace(obj_logits=None)
    assigned = SimOTAAssigner()(preds, priors, gt)
    assert assigned.prior_idx.shape == (3, 5, 10)
    contested = 0
    for image in range(3):
        expected = by_definition(preds, priors, gt, image)
        assert_same(as_found(assigned, image), expected)
        contested += len(expected)
    assert contested > 16  # several points of an object
    assert not assigned.scores[~assigned.valid].any() and not assigned.valid[1].any()


@pytest.mark.parametrize('pairs', [1 << 24, 1])
def test_all_points_at_once_and_a_few_images_at_a_time_give_the_same(monkeypatch, pairs):
    """As on a GPU, where candidates are not counted, with little memory."""
    preds, priors, gt = make(7)
    expected = SimOTAAssigner()(preds, priors, gt)

    def all_points(flags):
        return torch.arange(flags.shape[1]).expand_as(flags), flags

    monkeypatch.setattr(sim_ota_assigner, '_in_front', all_points)
    monkeypatch.setattr(sim_ota_assigner, '_DENSE_PAIRS', pairs)
    found = SimOTAAssigner()(preds, priors, gt)
    for image in range(3):
        assert_same(as_found(found, image), as_found(expected, image))


@pytest.mark.parametrize('counts', [(0, 0), (2, 0)])
def test_nothing_to_assign(counts):
    preds, priors, gt = make(0, counts)
    far = gt.bboxes + 1000.0 * gt.valid.unsqueeze(-1)  # objects with no point near them
    for bboxes in (gt.bboxes * 0, far) if counts[0] else (gt.bboxes,):
        assigned = SimOTAAssigner(radius=0.01)(preds, priors, GtBatch(**{**vars(gt), 'bboxes': bboxes}))
        assert assigned.prior_idx.shape == (2, counts[0], 10)
        assert not assigned.valid.any() and not assigned.scores.any()


def test_fewer_points_than_slots():
    preds, priors, gt = make(1)
    few = [0, 50, 100]
    preds = Candidates(preds.cls_logits[:, few], preds.bboxes[:, few])
    assigned = SimOTAAssigner(radius=50)(preds, type(priors)(priors.points[few], priors.strides[few]), gt)
    assert assigned.prior_idx.shape == (3, 5, 3) and assigned.valid[0].any()


def test_probabilities_of_one_cost_no_infinity():
    preds, priors, gt = make(2)
    sure = Candidates(torch.full_like(preds.cls_logits, 200.0).float(), preds.bboxes.float())
    assigned = SimOTAAssigner()(sure, priors, gt)
    assert assigned.valid[0].any(1).all() and assigned.scores.isfinite().all()


@pytest.mark.parametrize('arguments', [dict(radius=0), dict(topk=0), dict(iou_weight=-1)])
def test_odd_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match='radius must be above 0'):
        SimOTAAssigner(**arguments)


def test_objectness_multiplies_the_scores_of_a_task_aligned_assignment():
    preds, priors, gt = make(3)
    both = TaskAlignedAssigner()(preds, priors, gt)
    joint = (preds.cls_logits.sigmoid() * preds.obj_logits.sigmoid()[..., None]).logit()
    expected = TaskAlignedAssigner()(Candidates(joint, preds.bboxes), priors, gt)
    assert torch.equal(both.prior_idx, expected.prior_idx) and torch.equal(both.valid, expected.valid)
    torch.testing.assert_close(both.scores, expected.scores)
    plain = TaskAlignedAssigner()(preds._replace(obj_logits=None), priors, gt)
    assert not torch.equal(both.prior_idx, plain.prior_idx)


def test_squared_overlaps():
    pred, target = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[0.0, 0, 4, 2]])
    assert IoULoss('iou', power=2.0, loss_weight=5.0)(pred, target).item() == pytest.approx(5 * 0.75)
    for arguments in (dict(mode='giou', power=2.0), dict(mode='iou', power=0.0)):
        with pytest.raises(ValueError, match='power must be above 0'):
            IoULoss(**arguments)


def build_head(**parts):
    torch.manual_seed(0)
    return HEADS.build(dict(type='YOLOXHead', num_classes=3, in_channels=(8, 12, 16), strides=STRIDES, **parts))


def test_an_image_without_objects_teaches_the_objectness_alone():
    head = build_head(loss_l1=dict(type='L1Loss'))
    feats = [torch.randn(2, width, 64 // s, 64 // s) for width, s in zip((8, 12, 16), STRIDES, strict=True)]
    losses = head.loss(head(feats), make(0, (0, 0))[2])
    assert losses['loss_obj'] > 0
    assert [losses[f'loss_{name}'].item() for name in ('box', 'cls', 'l1')] == [0, 0, 0]
    sum(losses.values()).backward()
    assert all(param.grad is None or param.grad.isfinite().all() for param in head.parameters())


def test_an_untrained_head_expects_few_objects():
    head = build_head().eval()
    scores = head.decode(head([torch.zeros(1, width, 2, 2) for width in (8, 12, 16)]))['scores']
    assert scores.mean().item() == pytest.approx(1e-4, rel=0.5)
    with pytest.raises(ComponentError, match='prior_prob must be in'):
        build_head(prior_prob=1.0)
