"""Masks on the decoders of RT-DETR and D-FINE: what learns, denoising queries, results, and the costs of pairs."""

import pytest
import torch
from gt_batches import make_gt
from torch import Tensor, nn

from detkit.models.heads.query_head import Matches, find_matches
from detkit.models.heads.query_masks import pair_costs
from detkit.registry import HEADS
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import Candidates

CHANNELS, STRIDES, SIZE = (8, 12, 16), (8, 16, 32), 64
DECODER = dict(embed_dims=16, num_heads=2, num_layers=2, num_points=2, feedforward_dims=16)
NAMES = {'RTDETRSegmentHead': 'DeformableDecoder', 'DFINESegmentHead': 'DistributionDecoder'}


def build_head(name: str, **arguments) -> nn.Module:
    torch.manual_seed(0)
    head = dict(type=name, num_classes=3, in_channels=CHANNELS, strides=STRIDES, num_queries=6, num_denoising=4)
    return HEADS.build({**head, 'decoder': dict(type=NAMES[name], **DECODER), **arguments})


def feats(images: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(images, width, SIZE // stride, SIZE // stride, generator=generator)
        for width, stride in zip(CHANNELS, STRIDES, strict=True)
    ]


def ground_truth(counts: list[int]) -> GtBatch:
    """Objects with a mask of their own each."""
    gt = make_gt(counts, SIZE, 3, mask_stride=2)
    gt.masks = torch.stack([gt.masks == number for number in range(1, max(*counts, 1) + 1)], 1)[:, : max(counts)]
    return gt


def unlearnt(head: nn.Module) -> list[str]:
    return [name for name, param in head.named_parameters() if param.requires_grad and param.grad is None]


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('counts', [[0, 0], [2, 0], [1, 3]])
def test_every_parameter_learns(name, counts):
    head = build_head(name).train()
    gt = ground_truth(counts)
    preds = head(feats(), gt=gt)
    losses = head.loss(preds, gt)
    assert {'loss_mask', 'loss_dice', 'loss_dn'} <= set(losses)
    assert all(torch.isfinite(value) for value in losses.values())
    assert (losses['loss_mask'] > 0) == (losses['loss_dice'] > 0) == bool(sum(counts))
    sum(losses.values()).backward()
    assert unlearnt(head) == []


@pytest.mark.parametrize('name', NAMES)
def test_denoising_queries_change_nothing_of_the_others(name):
    head, gt = build_head(name).train(), ground_truth([1, 3])
    plain, noisy = head(feats()), head(feats(), gt=gt)
    assert plain.keys() == noisy.keys()
    for own, other in zip(plain['mask_embeds'], noisy['mask_embeds'], strict=True):
        torch.testing.assert_close(own, other)
    layers = head.decoder.num_layers
    assert len(noisy['mask_embeds']) == layers + 1 and len(noisy['dn_mask_embeds']) == layers
    assert noisy['dn_mask_embeds'][0].shape == (2, 6, 16)  # a group of three positive and three negative ones
    assert plain['dn_mask_embeds'][0].shape == (2, 0, 16)


@pytest.mark.parametrize('name', NAMES)
def test_a_denoising_query_learns_the_mask_of_its_object(name):
    head, gt = build_head(name, num_denoising=6).train(), ground_truth([1, 3])
    preds = head(feats(), gt=gt)
    matches = head._denoising_matches(
        _matches(head, preds, gt), gt, head.decoder.num_layers, preds['dn_cls_logits'].shape[2]
    )
    logits = head.matched_logits(preds['mask_pixels'][0], preds['dn_mask_embeds'][0], matches, 0, gt)
    for number, (object_idx, query_idx) in enumerate(zip(matches.object_idx, matches.query_idx[0], strict=True)):
        image, query = divmod(int(query_idx), 12)
        assert int(object_idx) // 3 == image and int(object_idx) % 3 == query % 6
        wanted = torch.einsum('c,chw->hw', preds['dn_mask_embeds'][0][image, query], preds['mask_pixels'][0][image])
        torch.testing.assert_close(logits[number], wanted + head.mask_decoder.bias)


def _matches(head: nn.Module, preds: dict, gt: GtBatch) -> Matches:
    assigned = head.assigner(Candidates(preds['cls_logits'], preds['bbox_preds']), None, gt)
    return find_matches(assigned, gt, preds['bbox_preds'].shape[2])


def test_masks_change_who_learns_an_object():
    head = build_head('RTDETRSegmentHead', num_denoising=0).train()
    gt = ground_truth([1, 3])
    preds = head(feats())
    costs = head.added_costs(preds, gt)
    assert len(costs) == head.num_matched(preds) == 3
    assert all(cost.shape == (2, 6, 3) and cost.isfinite().all() for cost in costs)
    head = build_head('DFINESegmentHead').train()
    preds = head(feats())
    costs = head.added_costs(preds, gt)
    assert [cost is None for cost in costs] == [False, False, True, False]  # the box that edges start from has no mask


@pytest.mark.parametrize('name', NAMES)
def test_results_are_those_of_all_masks(name):
    head = build_head(name, test_cfg=dict(max_per_img=5)).eval()
    with torch.no_grad():
        preds = head(feats())
        metas = [dict(matrix=torch.eye(3), ori_shape=(SIZE, SIZE), img_shape=(SIZE, SIZE))] * 2
        lazy, whole = head.predict(preds, metas), head.results(head.decode(preds), metas)
        losses = head.loss(preds, ground_truth([2, 0]))
    assert losses['loss_mask'] > 0
    for own, other in zip(lazy, whole, strict=True):
        assert len(own.pred_instances.masks) == len(own.pred_instances.bboxes) == 5
        masks, others = (found.pred_instances.masks.to_bool() for found in (own, other))
        assert masks.shape == (5, SIZE, SIZE) and (masks == others).all()


def test_costs_of_pairs_by_hand():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 3, 8, generator=generator, dtype=torch.float64)
    truth = (torch.rand(1, 8, 2, generator=generator) > 0.5).double()
    costs = pair_costs(logits, truth, (2.0, 3.0))
    for query in range(3):
        for column in range(2):
            p, t = logits[0, query].sigmoid(), truth[0, :, column]
            entropy = -(t * p.log() + (1 - t) * (1 - p).log()).mean()
            dice = 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
            torch.testing.assert_close(costs[0, query, column], 2 * entropy + 3 * dice)
