"""DEIM's and DEIMv2's parts against their formulas."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from builders import build_model

from detkit.models.assigners.match_costs import ScoreIoUCost
from detkit.models.data_preprocessor import DetDataPreprocessor, StepKey
from detkit.models.layers import RMSNorm, SwiGLU
from detkit.models.layers.deformable_decoder import build_position_mlp
from detkit.models.layers.detr_transformer import TransformerLayer
from detkit.models.layers.distribution_decoder import DistributionDecoder
from detkit.models.necks import PAN, HybridEncoder, LiteEncoder
from detkit.registry import ASSIGNERS
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import Candidates
from detkit.utils.errors import ConfigError


def test_rms_norm_divides_by_the_root_of_the_mean_square():
    norm, x = RMSNorm(5).double(), torch.randn(3, 5, dtype=torch.float64)
    torch.nn.init.uniform_(norm.weight, 0.5, 2)
    expected = x / (x.square().sum(-1, keepdim=True) / 5 + 1e-6).sqrt() * norm.weight
    torch.testing.assert_close(norm(x), expected)
    assert norm.bfloat16()(x.bfloat16()).dtype == torch.bfloat16


def test_a_layer_with_swiglu_has_half_the_width_behind_it():
    layer = TransformerLayer(6, 8, 0.0, act='SwiGLU', norm='RMS').double()
    assert layer.linear1.out_features == 8 and layer.linear2.in_features == 4
    x = torch.randn(2, 6, dtype=torch.float64)
    gate, values = layer.linear1(x).split(4, dim=-1)
    expected = x + layer.linear2(gate * gate.sigmoid() * values)
    torch.testing.assert_close(layer.feedforward(x), layer.norm_ffn(expected))
    torch.testing.assert_close(SwiGLU()(torch.cat((gate, values), -1)), F.silu(gate) * values)
    with pytest.raises(ConfigError, match="norm is 'BN'; it must be one of 'LN', 'RMS'"):
        TransformerLayer(6, 8, 0.0, norm='BN')


def test_lite_encoder_makes_two_maps_of_the_last_one():
    encoder = LiteEncoder((8, 12), (8, 16), out_channels=16, num_blocks=1).eval()
    assert encoder.out_channels == (16, 16) and encoder.out_strides == (16, 32)
    feats = torch.randn(2, 8, 14, 10), torch.randn(2, 12, 7, 5)
    fine, coarse = encoder(feats)
    assert fine.shape == (2, 16, 7, 5) and coarse.shape == (2, 16, 4, 3)  # sizes are rounded up
    same = encoder((torch.zeros_like(feats[0]), feats[1]))
    assert torch.equal(same[0], fine) and torch.equal(same[1], coarse)
    # The mean of the whole map reaches every cell: a change in one corner changes the other.
    changed = feats[1].clone()
    changed[:, :, 0, 0] += 10
    assert (encoder((feats[0], changed))[1] != coarse).flatten(2).any(1).all()


def test_an_encoder_of_one_map_has_attention_alone():
    torch.manual_seed(0)
    encoder = HybridEncoder((12,), (32,), 16, num_heads=2, feedforward_dims=8)
    (feat,) = encoder((torch.randn(2, 12, 4, 5),))
    assert feat.shape == (2, 16, 4, 5) and encoder.out_channels == (16,)
    feat.square().sum().backward()
    assert all(param.grad is not None for param in encoder.parameters())


def test_maps_are_joined_by_a_sum():
    torch.manual_seed(0)
    maps = [torch.randn(1, 16, side, side) for side in (8, 4)]
    joined = HybridEncoder((16, 16), (8, 16), 16, num_heads=2, feedforward_dims=8, num_blocks=1, fuse='sum')
    assert joined.fusion.up_blocks[0].conv1.conv.in_channels == 16
    assert [tuple(feat.shape) for feat in joined(maps)] == [(1, 16, 8, 8), (1, 16, 4, 4)]
    with pytest.raises(ConfigError, match='maps of 16 and 8 channels have no sum'):
        PAN((8, 16), fuse='sum')
    with pytest.raises(ConfigError, match="fuse is 'add'"):
        PAN((8, 16), fuse='add')


def test_one_position_and_one_mlp_of_edges_may_serve_all_layers():
    options = dict(embed_dims=8, num_heads=2, num_levels=1, num_layers=3, num_points=2, feedforward_dims=8)
    shared = DistributionDecoder(**options, share_edge_mlp=True, fixed_positions=True, gated=False).eval()
    assert len(shared.edge_mlps) == 1 and not hasattr(shared.layers[0], 'gate')
    calls = []
    shared.position_mlp.register_forward_hook(lambda *args: calls.append(args[1][0]))
    shared.initial_mlp.layers[-1].bias.data.fill_(0.5)  # boxes move, so that later positions would differ
    inputs = torch.randn(1, 4, 8), torch.rand(1, 4, 4) * 0.4 + 0.2, torch.randn(1, 9, 8), [(3, 3)]
    shared(*inputs)
    assert len(calls) == 1 and torch.equal(calls[0], inputs[1])
    shared.fixed_positions = False
    shared(*inputs)
    assert len(calls) == 4 and not torch.equal(calls[1], calls[2])


@pytest.mark.parametrize(('layers', 'widths'), [(2, [16, 8]), (3, [8, 8, 8])])
def test_widths_of_the_mlp_of_positions(layers, widths):
    assert [layer.out_features for layer in build_position_mlp(8, layers, 'SiLU').layers] == widths


def test_late_cost_is_the_probability_times_a_power_of_the_iou():
    bboxes = torch.tensor([[[0.5, 0.5, 0.4, 0.4], [0.2, 0.2, 0.1, 0.1], [0.6, 0.5, 0.4, 0.4]]], dtype=torch.float64)
    logits = torch.randn(1, 3, 2, dtype=torch.float64)
    labels, gt = torch.tensor([[1]]), torch.tensor([[[0.5, 0.5, 0.4, 0.4]]], dtype=torch.float64)
    cost = ScoreIoUCost(weight=2.0, power=4.0)(logits, bboxes, labels, gt)[0, :, 0]
    overlap = 0.3 * 0.4 / (2 * 0.16 - 0.12)
    expected = -2 * logits[0, :, 1].sigmoid() * torch.tensor([1, 0, overlap**4], dtype=torch.float64)
    torch.testing.assert_close(cost, expected, rtol=1e-9, atol=1e-9)
    with pytest.raises(ConfigError, match='power must not be negative'):
        ScoreIoUCost(power=-1)


def test_late_matching_prefers_a_good_box_to_a_certain_one():
    gt = GtBatch(
        labels=torch.tensor([[0]]),
        bboxes=torch.tensor([[[20.0, 20.0, 60.0, 60.0]]]),
        valid=torch.tensor([[True]]),
        flat_index=torch.tensor([0]),
        img_shapes=torch.tensor([[100, 100]]),
    )
    preds = Candidates(torch.tensor([[[2.0], [-0.5]]]), torch.tensor([[[0.45, 0.4, 0.4, 0.4], [0.4, 0.4, 0.4, 0.4]]]))
    late = ASSIGNERS.build(dict(type='HungarianAssigner', match_costs=[dict(type='ScoreIoUCost')]))
    early = ASSIGNERS.build(dict(type='HungarianAssigner', match_costs=[dict(type='FocalClassCost')]))
    assert early(preds, None, gt).prior_idx.item() == 0
    assert late(preds, None, gt).prior_idx.item() == 1  # .78 ** 4 * .88 < .38


@pytest.mark.parametrize('size', ['pico', 'n'])
def test_losses_of_the_smallest_have_no_distributions(size):
    head = build_model('deimv2', 3, size=size).head
    preds = head([torch.randn(1, width, side, side) for width, side in zip(head.in_channels, (4, 2), strict=True)])
    losses = head.loss(preds, no_objects())
    assert ({'loss_dfl', 'loss_distill'} <= losses.keys()) == (size == 'n')
    assert all(value.isfinite() for value in losses.values())


def no_objects() -> GtBatch:
    return GtBatch(
        labels=torch.zeros(1, 0, dtype=torch.int64),
        bboxes=torch.zeros(1, 0, 4),
        valid=torch.zeros(1, 0, dtype=torch.bool),
        flat_index=torch.zeros(0, dtype=torch.int64),
        img_shapes=torch.tensor([[64, 64]]),
    )


def test_without_union_every_layer_learns_its_own_matches():
    """Boxes of a layer are learnt by as many queries as there are objects, not by those of all layers."""
    model = build_model('deimv2', 3, size='pico').train()
    gt = GtBatch(
        labels=torch.tensor([[0, 2]]),
        bboxes=torch.tensor([[[4.0, 6.0, 40.0, 30.0], [20.0, 10.0, 60.0, 58.0]]]),
        valid=torch.ones(1, 2, dtype=torch.bool),
        flat_index=torch.arange(2),
        img_shapes=torch.tensor([[64, 64]]),
    )
    preds = model.head(model.extract_feat(torch.rand(1, 3, 64, 64)))
    seen = []
    original = model.head.box_losses
    model.head.box_losses = lambda preds, matches, *gt: seen.append(matches) or original(preds, matches, *gt)
    model.head.denoising = None
    model.head.layer_losses(preds, gt)
    assert seen[0].query_idx.shape == (5, 2)  # three layers, the initial box and the selection
    model.head.unite_matches = True
    model.head.layer_losses(preds, gt)
    assert seen[1].query_idx.shape[1] == preds['cls_logits'].shape[2]


def test_sizes_of_training_images_repeat_the_unscaled_one():
    preprocessor = DetDataPreprocessor(multi_scale=(0.75, 1.25), multi_scale_repeat=4)
    images, counts = torch.zeros(1, 3, 640, 320), {}
    for iteration in range(400):
        resized, _ = preprocessor.rescale(images[:, :, ::10, ::10], None, StepKey(1, iteration))
        counts.setdefault(tuple(resized.shape[-2:]), 0)
    assert set(counts) == {(64, 32)}  # of 64 pixels, the multiples of 32 in the range are the image itself
    sides = [round(preprocessor._draw_factor(np.random.default_rng(seed), 640) * 640) for seed in range(2000)]
    assert set(sides) == {480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800}
    assert sides.count(640) / len(sides) == pytest.approx(4 / 14, abs=0.04)
    with pytest.raises(ValueError, match='multi_scale_repeat must be at least 1'):
        DetDataPreprocessor(multi_scale_repeat=0)
