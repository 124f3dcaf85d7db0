"""A step of every head on rare batches: without objects, of tiny or too many ones, of a network gone astray."""

import math

import pytest
import torch
from test_engine import rank_families
from test_models.gt_batches import make_gt
from test_models.test_combinations import HEADS, build
from torch import nn

from detkit.structures.gt_batch import GtBatch

SIZE = 64
# Those of DETR, and one with masks on groups of queries, are built in another way.
NAMES = (*HEADS, 'detr', 'detr_seg', 'rfdetr_seg')
# Objects of each image, and what their boxes become; the heads have 8 queries.
BATCHES = {
    'none': ([0, 0], lambda bboxes: bboxes),
    'one image without': ([3, 0], lambda bboxes: bboxes),
    'a single image': ([2], lambda bboxes: bboxes),
    'more than queries': ([40, 1], lambda bboxes: bboxes),
    'as large as the image': ([1, 2], lambda bboxes: bboxes * 0 + torch.tensor([0.0, 0, SIZE, SIZE])),
    'one pixel': ([2, 1], lambda bboxes: bboxes * 0 + torch.tensor([20.0, 20, 21, 21])),
    'in a corner, less than a pixel': ([2, 1], lambda bboxes: bboxes * 0 + torch.tensor([63.99, 63.99, 64, 64])),
}


def model_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name not in HEADS:
        return rank_families.build(name).float()
    model = build('csp_v8', 'fpn' if name in ('retina', 'fcos', 'two_stage') else 'spp_pan', name)
    model.init_weights()
    return model.train()


def batch_of(name: str, kind: str) -> GtBatch:
    """All that any head may ask for: masks, three keypoints and rotated boxes, too."""
    counts, change = BATCHES[kind]
    stride = 4 if name in HEADS else 2
    gt = make_gt(counts, SIZE, num_classes=3, mask_stride=stride)
    gt.bboxes = change(gt.bboxes) * gt.valid.unsqueeze(-1)
    centres, sides = (gt.bboxes[..., :2] + gt.bboxes[..., 2:]) / 2, gt.bboxes[..., 2:] - gt.bboxes[..., :2]
    gt.rbboxes = torch.cat([centres, sides, torch.full_like(sides[..., :1], 0.2)], -1)
    points = torch.cat([centres, torch.full_like(sides[..., :1], 2.0)], -1)
    gt.keypoints = points.unsqueeze(2).repeat(1, 1, 3, 1)
    return gt


def losses_of(model: nn.Module, gt: GtBatch, inputs: torch.Tensor | None = None) -> torch.Tensor:
    inputs = torch.rand(gt.batch_size, 3, SIZE, SIZE) if inputs is None else inputs
    return model.parse_losses(model(inputs=inputs, gt=gt, mode='loss'))[0]


@pytest.mark.default_cases(3)
@pytest.mark.parametrize('name', NAMES)
def test_a_step(name):
    """Losses and gradients are finite, and every parameter has one, which several processes need."""
    model = model_of(name)
    for kind in BATCHES:
        model.zero_grad()
        loss = losses_of(model, batch_of(name, kind))
        loss.backward()
        grads = {each: param.grad for each, param in model.named_parameters() if param.requires_grad}
        assert math.isfinite(loss.item()), kind
        assert not [each for each, grad in grads.items() if grad is None or not grad.isfinite().all()], kind


@pytest.mark.default_cases(4)
@pytest.mark.parametrize('name', NAMES)
def test_the_loss_of_a_network_that_computes_no_numbers_is_none_either(name):
    """And no error of an index, so that the run can skip the batch or go back to a checkpoint."""
    model, gt = model_of(name), batch_of(name, 'one image without')
    loss = losses_of(model, gt, torch.full((2, 3, SIZE, SIZE), torch.nan))
    assert not math.isfinite(loss.item())
    loss.backward()


@pytest.mark.parametrize('name', NAMES)
def test_predictions_far_outside_of_the_image_have_a_loss(name):
    model, gt = model_of(name), batch_of(name, 'one image without')
    with torch.no_grad():
        for param in model.head.parameters():
            if param.ndim > 1:
                param.mul_(1e3)
    assert isinstance(losses_of(model, gt).item(), float)
