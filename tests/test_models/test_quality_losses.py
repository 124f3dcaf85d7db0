"""Losses of logits that learn a quality: their formulas, and equality with transformers' 5.24."""

from pathlib import Path

import numpy as np
import pytest
import torch
from parity.quality_shapes import objects, predictions
from parity.seeded import assert_close

from detkit.models.coders.relative_bbox_coder import cxcywh_to_xyxy
from detkit.models.losses import MatchabilityAwareLoss, VarifocalLoss, aligned_iou
from detkit.registry import MATCH_COSTS
from detkit.structures.targets import QualityTargets

RECORDED = Path(__file__).parents[1] / 'parity' / 'quality.npz'
LOSSES = {'vfl': VarifocalLoss, 'mal': MatchabilityAwareLoss}


@pytest.fixture(scope='module')
def recorded():
    with np.load(RECORDED) as arrays:
        return dict(arrays)


def targets(*rows: tuple[int, float, bool]) -> QualityTargets:
    index, quality, valid = zip(*rows, strict=True) if rows else ((), (), ())
    return QualityTargets(
        torch.tensor(index, dtype=torch.int64),
        torch.tensor(quality, dtype=torch.float64),
        torch.tensor(valid, dtype=torch.bool),
    )


def bce(p: torch.Tensor, q: float) -> torch.Tensor:
    return -(q * p.log() + (1 - q) * (1 - p).log())


def test_formulas_by_hand():
    logits = torch.tensor([[0.5, -1.0], [2.0, 0.0]], dtype=torch.float64)
    p = logits.sigmoid()
    target = targets((0, 0.8, True), (3, 0.0, True), (2, 0.9, False))
    background = {'vfl': 0.75 * p**2 * bce(p, 0), 'mal': p**1.5 * bce(p, 0)}
    matched = {
        'vfl': (0.8 * bce(p[0, 0], 0.8), torch.zeros(())),
        'mal': (bce(p[0, 0], 0.8**1.5), bce(p[1, 1], 0)),
    }
    for name, cls in LOSSES.items():
        expected = background[name][0, 1] + background[name][1, 0] + sum(matched[name])
        torch.testing.assert_close(cls(loss_weight=2.0)(logits, target, avg_factor=4.0), expected / 2)


@pytest.mark.parametrize('name', LOSSES)
def test_without_a_match_all_is_background(name):
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    cls = LOSSES[name]
    none = cls()(logits, targets(), avg_factor=1.0)
    torch.testing.assert_close(none, cls()(logits, targets((5, 0.7, False), (5, 0.2, False)), avg_factor=1.0))
    (gradient,) = torch.autograd.grad(none, logits)
    p = logits.detach().sigmoid()
    torch.testing.assert_close(gradient, cls().alpha * p ** (cls().gamma + 1))  # the power is a constant
    assert cls()(logits[:0], targets(), avg_factor=1.0) == 0


@pytest.mark.parametrize('name', LOSSES)
def test_what_weighs_nothing_might_as_well_not_be_there(name):
    logits = torch.randn(4, 3, dtype=torch.float64)
    loss, weight = LOSSES[name](), torch.tensor([1.0, 0.0, 1.0, 0.0]).view(-1, 1)
    kept = loss(logits[[0, 2]], targets((0, 0.3, True), (5, 0.6, True)), avg_factor=2.0)
    rows = targets((0, 0.3, True), (4, 0.5, True), (8, 0.6, True))
    torch.testing.assert_close(loss(logits, rows, weight, 2.0), kept)
    torch.testing.assert_close(loss(logits, rows, 3 * weight, 2.0), 3 * kept)


def test_extreme_logits_stay_finite():
    logits = torch.tensor([[1e4, -1e4, 1e4, -1e4]], requires_grad=True)
    for cls in LOSSES.values():
        loss = cls()(logits, targets((0, 0.0, True), (1, 1.0, True)), avg_factor=1.0)
        assert loss.isfinite() and torch.autograd.grad(loss, logits)[0].isfinite().all()


@pytest.mark.parametrize('arguments', [dict(alpha=-0.1), dict(gamma=-1.0)])
def test_wrong_arguments_are_refused(arguments):
    for cls in LOSSES.values():
        with pytest.raises(ValueError, match=f'{cls.__name__}: alpha and gamma must be at least 0'):
            cls(**arguments)


@pytest.mark.parametrize('name', LOSSES)
def test_losses_and_gradients_equal_the_reference(recorded, name):
    logits, bboxes = predictions()
    logits.requires_grad_()
    index, quality = [], []
    for image, (labels, own, queries) in enumerate(objects()):
        index.append((image * logits.shape[1] + queries) * logits.shape[2] + labels)
        overlaps = aligned_iou(cxcywh_to_xyxy(bboxes[image, queries]), cxcywh_to_xyxy(own), eps=1e-12)
        quality.append(overlaps)
    flat_index, quality = torch.cat(index), torch.cat(quality)
    assert quality.min() == 0 and (quality > 0.04).sum() == 4
    target = QualityTargets(flat_index, quality, torch.ones(len(quality)))
    loss = LOSSES[name]()(logits, target, avg_factor=float(len(quality)))
    assert loss.item() == pytest.approx(recorded[name].item(), rel=1e-9)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert_close(gradient, recorded[f'{name}.grad'], 1e-9, name)


def test_costs_of_matching_equal_the_reference(recorded):
    logits, bboxes = predictions()
    weights = dict(FocalClassCost=2.0, BBoxL1Cost=5.0, GIoUCost=2.0)
    costs = [MATCH_COSTS.build(dict(type=kind, weight=weight)) for kind, weight in weights.items()]
    for image, (labels, own, _) in enumerate(objects()):
        arguments = logits[image : image + 1], bboxes[image : image + 1], labels[None], own[None]
        assert_close(sum(cost(*arguments) for cost in costs)[0], recorded[f'costs.{image}'], 1e-6, f'image {image}')
