"""What YOLO26's heads for masks and keypoints are made of: shared parts, targets, assignments, the flow of errors."""

import copy
from math import isfinite, log, pi

import pytest
import torch

from detkit.models.assigners import KeypointTaskAlignedAssigner, MaskTaskAlignedAssigner
from detkit.models.assigners import mask_task_aligned_assigner as module
from detkit.models.assigners.keypoint_task_aligned_assigner import _similarities
from detkit.models.coders import FreeAngleDistanceCoder
from detkit.models.heads import YOLO26PoseHead, YOLO26SegmentHead
from detkit.models.heads.yolo26_segment_head import semantic_targets
from detkit.models.layers.flow import RealNVP
from detkit.models.losses import RLELoss
from detkit.models.priors import PointPriorGenerator
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import Candidates, KeypointTargets, PrototypeMasks
from detkit.utils.errors import ConfigError

BBOXES = [[4.0, 4.0, 44.0, 36.0], [30.0, 20.0, 62.0, 60.0], [0.0, 0.0, 0.0, 0.0]]


def truth(**more) -> GtBatch:
    labels = torch.tensor([[1, 0, -1]])
    return GtBatch(
        labels=labels,
        bboxes=torch.tensor([BBOXES]),
        valid=labels >= 0,
        flat_index=torch.tensor([0, 1]),
        img_shapes=torch.tensor([[64, 64]]),
        **more,
    )


def masks_of_boxes() -> tuple[torch.Tensor, torch.Tensor]:
    """An overlap map (1, 16, 16), later objects on top, and the same as masks (1, 3, 16, 16)."""
    numbers = torch.zeros(1, 16, 16, dtype=torch.uint8)
    for number, (x0, y0, x1, y1) in enumerate(BBOXES[:2], 1):
        numbers[0, int(y0 / 4) : int(y1 / 4), int(x0 / 4) : int(x1 / 4)] = number
    return numbers, torch.stack([numbers == number for number in (1, 2, 3)], 1)


def candidates(num_points: int) -> Candidates:
    torch.manual_seed(0)
    priors = PointPriorGenerator((8, 16))(((8, 8), (4, 4)))
    sides = priors.strides[:, None] * (1 + torch.rand(num_points, 4))
    bboxes = torch.cat([priors.points - sides[:, :2], priors.points + sides[:, 2:]], 1)[None]
    return priors, Candidates(torch.randn(1, num_points, 2), bboxes)


@pytest.mark.parametrize('reg_max', [0, 2, 16])
@pytest.mark.parametrize('head', [YOLO26PoseHead, YOLO26SegmentHead])
def test_distances_without_distributions_have_no_bins(head, reg_max):
    with pytest.raises(ConfigError, match=f'reg_max is {reg_max}, .* leave it out, or take YOLOv10Head'):
        head(2, in_channels=(16,), strides=(8,), reg_max=reg_max, bbox_coder=dict(reg_max=reg_max))


def test_semantic_targets_are_the_classes_of_the_masks():
    numbers, masks = masks_of_boxes()
    found = semantic_targets(truth(masks=numbers), 2, (8, 8))
    assert torch.equal(found, semantic_targets(truth(masks=masks), 2, (8, 8)))
    assert torch.equal(found[0, 1], numbers[0, ::2, ::2] == 1) and torch.equal(found[0, 0], numbers[0, ::2, ::2] == 2)
    empty = truth(masks=numbers * 0)
    empty = GtBatch(**{**vars(empty), 'labels': empty.labels[:, :0], 'bboxes': empty.bboxes[:, :0]})
    assert not semantic_targets(empty, 2, (8, 8)).any()


def test_masks_decide_between_equal_boxes(monkeypatch):
    priors, preds = candidates(80)
    numbers, masks = masks_of_boxes()
    protos = torch.stack([masks[0, 0].float(), masks[0, 1].float(), torch.ones(16, 16)])[None] - 0.5
    preds = preds._replace(
        cls_logits=torch.zeros(1, 80, 2),
        bboxes=torch.tensor(BBOXES[0]).expand(1, 80, 4),  # the first object's box everywhere
        masks=PrototypeMasks(torch.zeros(1, 80, 3), protos),
    )
    assigner = MaskTaskAlignedAssigner(topk=10)  # whose shortlist is longer than the list of points inside
    right = 18  # whose mask is that of the object
    preds.masks.coeffs[0, right, 0] = 1
    found = assigner(preds, priors, truth(masks=numbers))
    best = found.scores[0, 0].argmax()
    assert found.prior_idx[0, 0, best] == right
    assert 0.8 < found.scores[0, 0, best] and found.scores[0, 0].sort().values[-2] < 0.1  # the others have .5^6 of it
    same = [assigner(preds, priors, truth(masks=masks))]
    # As a GPU does it.
    monkeypatch.setattr(module, '_groups_by_box', module._groups_by_chunk)
    same += [assigner(preds, priors, truth(masks=each)) for each in (numbers, masks)]
    for other in same:
        assert all(torch.equal(first, second) for first, second in zip(found, other, strict=True))


@pytest.mark.parametrize('bbox', [[-60.0, -60, -9, -3], [70, 80, 90, 99], [80, 8, 20, 3], [30, 70, 60, 20]])
def test_predicted_boxes_outside_of_the_image_overlap_with_no_mask(bbox):
    """Distances may be negative, so that a box can also be inside out."""
    priors, preds = candidates(80)
    protos = torch.ones(1, 3, 16, 16)
    preds = preds._replace(
        bboxes=torch.tensor(bbox).float().expand(1, 80, 4), masks=PrototypeMasks(torch.ones(1, 80, 3), protos)
    )
    found = MaskTaskAlignedAssigner(topk=10)(preds, priors, truth(masks=masks_of_boxes()[0]))
    assert found.valid.any() and not found.scores.any()


def test_keypoints_decide_and_coarse_points_are_for_large_objects():
    priors, preds = candidates(80)
    keypoints = torch.tensor([[[[10.0, 10, 2], [40, 30, 1]], [[50, 50, 2], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]]])
    preds = preds._replace(cls_logits=torch.zeros(1, 80, 2), keypoints=torch.full((1, 80, 2, 2), 500.0))
    right = 18
    preds.keypoints[0, right] = keypoints[0, 0, :, :2]
    assigner = KeypointTaskAlignedAssigner(topk=10)
    found = assigner(preds, priors, truth(keypoints=keypoints))
    best = found.scores[0, 0].argmax()
    assert found.prior_idx[0, 0, best] == right and found.scores[0, 0, best] == pytest.approx(1)
    small = truth(keypoints=keypoints)
    small.bboxes[0, 0] = torch.tensor([16.0, 16, 47, 46])
    for gt, coarse in ((truth(keypoints=keypoints), True), (small, False)):
        inside = assigner._eligible(priors, gt.bboxes, gt.valid)
        assert bool(inside[0, 0, 64:].any()) == coarse and inside[0, 0, :64].any() and not inside[0, 2].any()


@pytest.mark.parametrize(
    ('bbox', 'levels'),
    [
        ([8.0, 8, 104, 104], {8, 16, 32}),  # 12 cells of the finest level, 3 of the coarsest
        ([8.0, 8, 104, 105], {16, 32}),
        ([8.0, 8, 200, 200], {16, 32}),
        ([8.0, 8, 201, 200], {32}),
        ([0.0, 0, 512, 512], {32}),  # 16 cells of the coarsest
        ([8.0, 8, 71, 71], {8, 16}),
        ([8.0, 8, 39, 39], {8}),
        ([8.0, 8, 10, 10], {8}),
        ([0.0, 21, 512, 43], {16}),  # of its levels the coarsest has no point inside
        ([0.0, 33, 512, 47], {8, 16}),
        ([0.0, 49, 512, 79], {16}),
    ],
)
def test_a_box_has_candidates_on_the_levels_of_its_size(bbox, levels):
    priors = PointPriorGenerator((8, 16, 32))(((64, 64), (32, 32), (16, 16)))
    assigner = KeypointTaskAlignedAssigner()
    inside = assigner._eligible(priors, torch.tensor([[bbox]]), torch.tensor([[True]]))[0, 0]
    assert set(priors.strides[inside].tolist()) == levels


@pytest.mark.parametrize('bbox', [[0.0, 12.5, 512, 19.5], [12.5, 0, 19.5, 512]])
def test_a_thin_box_without_points_of_its_levels_has_all_that_it_contains(bbox):
    """Its area is that of 56 x 56 pixels, which fits strides 8 and 16, but it lies between their points."""
    priors = PointPriorGenerator((4, 8, 16))(((128, 128), (64, 64), (32, 32)))
    assigner = KeypointTaskAlignedAssigner(min_side=0)
    gt_bboxes, valid = torch.tensor([[bbox, [0.0, 0, 0, 0]]]), torch.tensor([[True, False]])
    inside = assigner._eligible(priors, gt_bboxes, valid)[0]
    assert set(priors.strides[inside[0]].tolist()) == {4} and inside[0].sum() == 2 * 128 and not inside[1].any()


def test_similarities_of_pairs_and_of_all_are_the_same():
    torch.manual_seed(0)
    pred, keypoints = torch.rand(2, 5, 3, 2), torch.rand(2, 4, 3, 2)
    scales, labelled = torch.rand(2, 4, 3) + 0.1, torch.rand(2, 4, 3) > 0.3
    found = KeypointTaskAlignedAssigner._similarities_of_all(pred, keypoints, scales, labelled)
    for image, box, point in ((0, 0, 0), (1, 3, 4), (1, 2, 0)):
        pair = _similarities(pred[image, point], keypoints[image, box], scales[image, box], labelled[image, box])
        assert found[image, box, point] == pytest.approx(pair.item())


def test_a_flow_is_a_density():
    torch.manual_seed(0)
    flow = RealNVP(num_couplings=4, hidden_channels=8).double()
    for net in (*flow.scale_nets, *flow.shift_nets):
        torch.nn.init.normal_(net[4].weight, std=0.3)
    axis = torch.linspace(-12, 12, 401, dtype=torch.float64)
    points = torch.stack(torch.meshgrid(axis, axis, indexing='ij'), -1)
    with torch.no_grad():
        density = flow.log_prob(points).exp()
    assert density.sum() * (axis[1] - axis[0]) ** 2 == pytest.approx(1, abs=1e-3)
    peak = -log(2 * pi)  # of the normal distribution, to which a fresh flow is close
    assert RealNVP().log_prob(torch.zeros(2)).item() == pytest.approx(peak, abs=0.7)


def test_likelihood_of_keypoints():
    torch.manual_seed(0)
    loss = RLELoss(num_keypoints=2)
    target = KeypointTargets(torch.zeros(3, 2, 2), torch.tensor([[True, True], [False, True], [True, True]]), None)
    weight = torch.tensor([True, True, False])
    pred = torch.randn(3, 2, 4, requires_grad=True)
    value = loss(pred, target, weight)
    value.backward()
    learns = pred.grad.abs().sum(-1) > 0
    assert learns.tolist() == [[True, True], [False, True], [False, False]]
    each = [loss(pred[i : i + 1], KeypointTargets(*(part[i : i + 1] for part in target[:2]), None)) for i in (0, 1)]
    assert value.item() == pytest.approx(((2 * each[0] + each[1]) / 3).item(), rel=1e-5)
    nothing = KeypointTargets(target.keypoints, target.visible & False, None)
    assert loss(pred, nothing, weight).item() == 0
    with pytest.raises(ValueError, match='needs 2 weights'):
        RLELoss(num_keypoints=2, keypoint_weights=(1.0,))


def test_likelihood_of_far_and_of_certain_keypoints():
    """As in ultralytics 8.4.190: errors are at most 100 deviations, and the loss is at least 0."""
    loss = RLELoss(num_keypoints=1).double()
    target = KeypointTargets(torch.zeros(1, 1, 2, dtype=torch.float64), torch.ones(1, 1, dtype=torch.bool), None)

    def value_and_slopes(offset: float, logit: float) -> tuple[float, list[float]]:
        pred = torch.tensor([[[offset, -offset, logit, logit]]], dtype=torch.float64, requires_grad=True)
        value = loss(pred, target)
        value.backward()
        return value.item(), pred.grad.flatten().tolist()

    at_limit, _ = value_and_slopes(50, 0)  # deviations are 0.5
    far, slopes = value_and_slopes(5000, 0)
    assert far == pytest.approx(at_limit, rel=1e-6) and slopes[:2] == [0, 0] and all(slopes[2:])
    assert value_and_slopes(40, 0)[0] < at_limit and all(value_and_slopes(40, 0)[1])
    assert value_and_slopes(0, 0)[0] > 0
    assert value_and_slopes(0, -6) == (0, [0, 0, 0, 0])
    assert isfinite(value_and_slopes(1, -1e4)[0])


def test_what_both_assignments_share_is_saved_once():
    head = YOLO26PoseHead(2, in_channels=(16, 16), strides=(8, 16), keypoint_shape=(3, 3))
    assert not any(name.startswith('one_to_one.loss_rle') for name in head.state_dict())
    for each in (head, copy.deepcopy(head)):
        assert each.one_to_one.loss_rle is each.loss_rle
    assert copy.deepcopy(head).loss_rle is not head.loss_rle


def test_the_semantic_branch_is_for_training_alone():
    torch.manual_seed(0)
    head = YOLO26SegmentHead(2, in_channels=(16, 16), strides=(8, 16), num_protos=4)
    feats = [torch.randn(1, 16, 8, 8), torch.randn(1, 16, 4, 4)]
    gt = truth(masks=masks_of_boxes()[0])
    head.many_weight = 0.0
    losses = head.loss(head(feats), gt)
    losses['loss_sem'].backward()
    assert not head.semantic_cls[2].weight.grad.any()  # the share of the assignment that has a gradient is 0
    with torch.no_grad():
        assert set(head.eval()(feats)) == {'cls_logits', 'bbox_preds', 'mask_coeffs', 'mask_protos'}
        assert 'loss_sem' in head.loss(head(feats, gt=gt), gt)
    with pytest.raises(ValueError, match='learns masks'):
        head.loss(head(feats, gt=truth()), truth())
    smaller = truth(masks=masks_of_boxes()[0][:, ::2, ::2])
    with pytest.raises(ConfigError, match=r'drawn as \(8, 8\) .*, but prototypes are \(16, 16\).*write mask_stride=4'):
        head.loss(head(feats, gt=smaller), smaller)


def test_a_batch_without_objects_gives_no_semantic_loss():
    """As in ultralytics, where an image without objects beside one with some does give one."""
    torch.manual_seed(0)
    head = YOLO26SegmentHead(2, in_channels=(16, 16), strides=(8, 16), num_protos=4)
    feats = [torch.randn(1, 16, 8, 8), torch.randn(1, 16, 4, 4)]
    none = truth(masks=masks_of_boxes()[0] * 0)
    none = GtBatch(
        **{**vars(none), 'labels': none.labels * 0 - 1, 'valid': none.valid & False, 'flat_index': none.flat_index[:0]}
    )
    losses = head.loss(head(feats), none)
    assert losses['loss_sem'].item() == 0 < losses['loss_cls'].item()
    sum(losses.values()).backward()
    assert not head.semantic_cls[2].weight.grad.any()  # which is there: processes of a step wait for it


def test_free_angles_have_no_bounds():
    coder = FreeAngleDistanceCoder(reg_max=1)
    points = torch.tensor([[0.0, 0.0], [50.0, 3.0]])
    rbboxes = torch.tensor([[4.0, 2.0, 30.0, 10.0, 5.5], [4.0, 2.0, 30.0, 10.0, -7.0]])
    distances = coder.encode(points, rbboxes, 8.0)
    assert (distances[1] < 0).any()
    angles = coder.angles(coder.angle_logits(rbboxes[:, 4]))
    torch.testing.assert_close(coder.decode(points, distances, 8.0, angles), rbboxes)
