"""Losses against their dense, plain forms; images without objects come first."""

import pytest
import torch
import torch.nn.functional as F
from gt_batches import make_gt

from detkit.models.losses import (
    BinaryCrossEntropyLoss,
    BinaryFocalLoss,
    DistributionFocalLoss,
    IoULoss,
    ProtoMaskLoss,
    aligned_iou,
)
from detkit.models.losses import masks as mask_loss_module
from detkit.structures.targets import BoxMasks, PrototypeMasks, SparseTargets


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def empty(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.zeros(*shape, dtype=dtype)


# ---- binary cross entropy


@pytest.mark.parametrize('smoothing', [0.0, 0.1])
@pytest.mark.parametrize('count', [0, 7])
def test_binary_cross_entropy_equals_the_dense_form(count, smoothing):
    logits = (draw(2, 10, 3) * 5).requires_grad_()
    places = torch.randperm(60, generator=torch.Generator().manual_seed(0))[:count]
    targets = torch.rand(count, dtype=torch.float64)
    dense = empty(60).index_put((places,), targets) * (1 - smoothing) + smoothing / 2
    expected = 0.5 * F.binary_cross_entropy_with_logits(logits.flatten(), dense, reduction='sum') / 3.0
    loss = BinaryCrossEntropyLoss(0.5, smoothing)(logits, SparseTargets(places, targets), avg_factor=3.0)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, logits), torch.autograd.grad(expected, logits))


def test_binary_cross_entropy_of_recurring_empty_slots():
    logits = draw(4, 3)
    once = BinaryCrossEntropyLoss()(logits, SparseTargets(torch.tensor([5]), torch.tensor([1.0])), avg_factor=1.0)
    targets = SparseTargets(torch.tensor([5, 0, 0, 5]), torch.tensor([1.0, 0.0, 0.0, 0.0]))
    slots = BinaryCrossEntropyLoss()(logits, targets, avg_factor=1.0)
    torch.testing.assert_close(once, slots)


def test_label_smoothing_out_of_range():
    with pytest.raises(ValueError, match='label_smoothing'):
        BinaryCrossEntropyLoss(label_smoothing=1.0)


@pytest.mark.parametrize('loss', [BinaryCrossEntropyLoss(0.5, 0.1), BinaryFocalLoss(label_smoothing=0.1)])
def test_a_weight_for_each_logit(loss):
    """What weighs nothing might as well not be there, targets included."""
    logits, places = draw(4, 3), torch.tensor([0, 4, 8, 9])
    targets = torch.tensor([1.0, 1.0, 0.5, 1.0], dtype=torch.float64)
    weight = torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64).unsqueeze(1)
    kept = loss(logits[[0, 2]], SparseTargets(torch.tensor([0, 5]), targets[[0, 2]]), avg_factor=2.0)
    torch.testing.assert_close(loss(logits, SparseTargets(places, targets), weight, 2.0), kept)
    torch.testing.assert_close(loss(logits, SparseTargets(places, targets), 3 * weight, 2.0), 3 * kept)


# ---- focal loss


@pytest.mark.parametrize('smoothing', [0.0, 0.1])
@pytest.mark.parametrize(('gamma', 'alpha'), [(1.5, 0.25), (0.0, 0.5), (0.5, 0.9)])
@pytest.mark.parametrize('count', [0, 7])
def test_focal_loss_equals_the_dense_form(count, gamma, alpha, smoothing):
    logits = (draw(2, 10, 3) * 5).requires_grad_()
    places = torch.randperm(60, generator=torch.Generator().manual_seed(0))[:count]
    targets = torch.rand(count, dtype=torch.float64)
    dense = empty(60).index_put((places,), targets) * (1 - smoothing) + smoothing / 2
    probs = logits.flatten().sigmoid()
    right = dense * probs + (1 - dense) * (1 - probs)
    expected = F.binary_cross_entropy_with_logits(logits.flatten(), dense, reduction='none')
    expected = expected * (1 - right) ** gamma * (dense * alpha + (1 - dense) * (1 - alpha))
    expected = 2 * expected.sum() / 3
    # A slot that holds nothing may point anywhere.
    places, targets = torch.cat([places, torch.tensor([5, 5])]), torch.cat([targets, empty(2)])
    loss = BinaryFocalLoss(gamma, alpha, 2.0, smoothing)(logits, SparseTargets(places, targets), avg_factor=3.0)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, logits), torch.autograd.grad(expected, logits))


def test_focal_loss_of_background_keeps_few_tensors_for_the_gradient():
    """With a thousand classes the logits are the largest tensors of a training step."""
    logits, kept = draw(3, 1000).requires_grad_(), set()

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.update([tensor.data_ptr()] if tensor.numel() == logits.numel() else [])
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = BinaryFocalLoss(2.0)(logits, SparseTargets(torch.tensor([5]), torch.ones(1)), avg_factor=1.0)
    assert loss > 0 and len(kept) <= 4  # logits, probabilities, their power, and cross entropy


def test_focal_loss_of_certain_logits_has_a_gradient():
    logits = torch.tensor([200.0, -200.0, 200.0, -200.0], requires_grad=True)
    loss = BinaryFocalLoss(gamma=0.5)(logits, SparseTargets(torch.tensor([0, 1]), torch.ones(2)), avg_factor=1.0)
    loss.backward()
    assert loss.item() == pytest.approx(200 * (0.25 + 0.75)) and logits.grad.isfinite().all()


@pytest.mark.parametrize('mistake', [dict(gamma=-1.0), dict(alpha=1.5), dict(label_smoothing=1.0)])
def test_focal_loss_out_of_range(mistake):
    with pytest.raises(ValueError, match=next(iter(mistake))):
        BinaryFocalLoss(**mistake)


# ---- overlaps


@pytest.mark.parametrize('mode', ['iou', 'giou', 'diou', 'ciou'])
def test_iou_loss_of_nothing(mode):
    bboxes = empty(0, 4).requires_grad_()
    loss = IoULoss(mode)(bboxes, empty(0, 4), empty(0), 1.0)
    loss.backward()
    assert loss == 0 and bboxes.grad.shape == (0, 4)


def test_overlaps_of_known_boxes():
    a, b = torch.tensor([0.0, 0.0, 2.0, 2.0]), torch.tensor([1.0, 1.0, 3.0, 3.0])
    assert aligned_iou(a, b).item() == pytest.approx(1 / 7)
    assert aligned_iou(a, b, 'giou').item() == pytest.approx(1 / 7 - 2 / 9)
    assert aligned_iou(a, b, 'diou').item() == pytest.approx(1 / 7 - 2 / 18)
    assert aligned_iou(a, b, 'ciou').item() == pytest.approx(1 / 7 - 2 / 18)  # of the same shape
    wide = torch.tensor([0.0, 0.0, 4.0, 1.0])
    aspect = 4 / torch.pi**2 * (torch.atan(torch.tensor(4.0)) - torch.atan(torch.tensor(1.0))).item() ** 2
    iou = 2 / 6
    diou = iou - (1 + 0.25) / (16 + 4)
    assert aligned_iou(a, wide, 'diou').item() == pytest.approx(diou)
    assert aligned_iou(a, wide, 'ciou').item() == pytest.approx(diou - aspect**2 / (aspect - iou + 1))


def test_overlaps_of_equal_apart_and_flat_boxes():
    a = torch.tensor([[0.0, 0.0, 4.0, 2.0], [0.0, 0.0, 1.0, 1.0], [3.0, 3.0, 3.0, 3.0]], requires_grad=True)
    b = torch.tensor([[0.0, 0.0, 4.0, 2.0], [9.0, 9.0, 10.0, 10.0], [3.0, 3.0, 3.0, 3.0]])
    for mode in ('iou', 'giou', 'diou', 'ciou'):
        overlap = aligned_iou(a, b, mode)
        assert overlap[0].item() == pytest.approx(1, abs=1e-5)
        assert (overlap[1] < 0) == (mode != 'iou')
        overlap.sum().backward()
        assert a.grad.isfinite().all()


def test_overlaps_broadcast():
    assert aligned_iou(torch.rand(5, 1, 4), torch.rand(3, 4), 'ciou').shape == (5, 3)


def test_iou_loss_weighs_and_averages():
    bboxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.0]])
    targets = torch.tensor([[1.0, 1.0, 3.0, 3.0], [5.0, 5.0, 6.0, 6.0]])
    loss = IoULoss('iou', loss_weight=7.5)(bboxes, targets, torch.tensor([0.5, 0.0]), 2.0)
    assert loss.item() == pytest.approx(7.5 * (6 / 7) * 0.5 / 2)


def test_unknown_overlap():
    with pytest.raises(ValueError, match='siou'):
        IoULoss('siou')
    with pytest.raises(ValueError, match='siou'):
        aligned_iou(torch.rand(1, 4), torch.rand(1, 4), 'siou')


# ---- distribution focal loss


def test_distribution_focal_loss_of_nothing():
    logits = empty(0, 4, 16).requires_grad_()
    loss = DistributionFocalLoss()(logits, empty(0, 4), empty(0), 1.0)
    loss.backward()
    assert loss == 0 and logits.grad.shape == (0, 4, 16)


@pytest.mark.parametrize('value', [torch.nan, torch.inf, -torch.inf])
def test_distribution_focal_loss_of_a_target_that_is_no_number(value):
    assert not DistributionFocalLoss()(draw(2, 4, 16), torch.full((2, 4), value)).isfinite()


def test_distribution_focal_loss_is_cross_entropy_with_two_bins():
    logits, weight = draw(6, 4, 16), torch.rand(6, dtype=torch.float64)
    targets = torch.rand(6, 4, dtype=torch.float64) * 14.99
    targets[0] = torch.tensor([0.0, 3.0, 14.99, 7.5])
    shares = empty(6, 4, 16)
    for index in range(24):
        row, side = divmod(index, 4)
        below = int(targets[row, side])
        shares[row, side, below + 1] = targets[row, side] - below
        shares[row, side, below] = 1 - shares[row, side, below + 1]
    expected = -(shares * logits.log_softmax(-1)).sum(-1).mean(-1)
    loss = DistributionFocalLoss(1.5)(logits, targets, weight, 4.0)
    torch.testing.assert_close(loss, 1.5 * (expected * weight).sum() / 4)


# ---- masks


def mask_inputs(counts: list[int], slots: int = 3) -> dict[str, torch.Tensor]:
    """Random coefficients and prototypes for ``slots`` slots a box, some of them empty."""
    gt = make_gt(counts)
    count = gt.max_instances * slots
    gt_idx = torch.arange(gt.max_instances).repeat_interleave(slots).expand(len(counts), -1)
    valid = gt.valid.repeat_interleave(slots, 1).clone()
    valid[:, ::4] = False
    return dict(
        mask_coeffs=draw(len(counts), count, 8).requires_grad_(),
        mask_protos=draw(len(counts), 8, 16, 16).requires_grad_(),
        bboxes=gt.bboxes.double().gather(1, gt_idx.unsqueeze(-1).expand(-1, -1, 4)) / 4,
        masks=gt.masks,
        gt_idx=gt_idx,
        valid=valid,
    )


def mask_loss(inputs: dict[str, torch.Tensor], loss_weight: float = 1.0) -> torch.Tensor:
    pred = PrototypeMasks(inputs['mask_coeffs'], inputs['mask_protos'])
    target = BoxMasks(inputs['bboxes'], inputs['masks'], inputs['gt_idx'])
    return ProtoMaskLoss(loss_weight)(pred, target, inputs['valid'])


def dense_mask_loss(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Every slot on the whole frame: cross entropy cut at the box, its mean / relative area, mean over slots."""
    logits = torch.einsum('bsd,bdhw->bshw', inputs['mask_coeffs'], inputs['mask_protos'])
    targets = (inputs['masks'].unsqueeze(1) == inputs['gt_idx'][..., None, None] + 1).double()
    y, x = torch.meshgrid(torch.arange(16), torch.arange(16), indexing='ij')
    x0, y0, x1, y1 = inputs['bboxes'][..., None, None].unbind(2)
    inside = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
    losses = F.binary_cross_entropy_with_logits(logits, targets, reduction='none') * inside
    areas = (inputs['bboxes'][..., 2:] - inputs['bboxes'][..., :2]).prod(-1) / 256
    valid = inputs['valid']
    return (losses.mean((2, 3))[valid] / areas[valid]).sum() / valid.sum().clamp(min=1)


@pytest.mark.parametrize('groups', ['_groups_by_box', '_groups_by_chunk'])
@pytest.mark.parametrize('counts', [[0, 0], [0, 3], [4, 2]])
def test_mask_loss_equals_the_dense_form(counts, groups, monkeypatch):
    monkeypatch.setattr(mask_loss_module, '_groups_by_box', getattr(mask_loss_module, groups))
    monkeypatch.setattr(mask_loss_module, '_CHUNK', 5)
    inputs = mask_inputs(counts)
    variables = [inputs['mask_coeffs'], inputs['mask_protos']]
    loss, expected = mask_loss(inputs, 7.5), 7.5 * dense_mask_loss(inputs)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss * 2, variables), torch.autograd.grad(expected * 2, variables))


@pytest.mark.parametrize('groups', ['_groups_by_box', '_groups_by_chunk'])
def test_mask_loss_with_a_bitmap_for_each_box(groups, monkeypatch):
    monkeypatch.setattr(mask_loss_module, '_groups_by_box', getattr(mask_loss_module, groups))
    inputs = mask_inputs([4, 2])
    expected = dense_mask_loss(inputs)
    inputs['masks'] = inputs['masks'].unsqueeze(1) == torch.arange(1, 5).view(1, -1, 1, 1)
    torch.testing.assert_close(mask_loss(inputs), expected)


def test_mask_loss_of_a_box_between_pixels():
    inputs = mask_inputs([1])
    inputs['bboxes'][:] = torch.tensor([3.2, 3.2, 3.8, 9.0])  # contains no pixel's coordinate
    assert mask_loss(inputs) == 0


def test_masks_of_another_size():
    inputs = mask_inputs([1])
    inputs['masks'] = inputs['masks'][:, ::2, ::2]
    with pytest.raises(ValueError, match=r'\(8, 8\).*\(16, 16\)'):
        mask_loss(inputs)
