"""DETR's parts by themselves: attention, positions, transformer, costs, matching, coder, losses."""

from itertools import permutations
from math import cos, pi, sin

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from detkit.models.assigners import HungarianAssigner
from detkit.models.coders.relative_bbox_coder import cxcywh_to_xyxy
from detkit.models.layers import (
    MLP,
    DETRTransformer,
    LearnedPositionEncoding,
    MultiHeadAttention,
    SinePositionEncoding,
)
from detkit.models.losses import CrossEntropyLoss, IoULoss, L1Loss
from detkit.registry import CODERS, MATCH_COSTS
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import Candidates
from detkit.utils.errors import ConfigError


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def masked(batch: int, height: int, width: int, sizes: list[tuple[int, int]]) -> torch.Tensor:
    mask = torch.ones(batch, height, width, dtype=torch.bool)
    for own, (h, w) in zip(mask, sizes, strict=True):
        own[:h, :w] = False
    return mask


# Attention and transformer.


def test_attention_equals_pytorchs():
    ours, theirs = MultiHeadAttention(24, 4).double(), nn.MultiheadAttention(24, 4, batch_first=True).double()
    nn.init.normal_(theirs.in_proj_bias)
    parts = zip(
        (ours.query_proj, ours.key_proj, ours.value_proj),
        theirs.in_proj_weight.chunk(3),
        theirs.in_proj_bias.chunk(3),
        strict=True,
    )
    for part, weight, bias in parts:
        part.load_state_dict(dict(weight=weight, bias=bias))
    ours.out_proj.load_state_dict(theirs.out_proj.state_dict())
    queries, keys, values = rand(2, 5, 24), rand(2, 7, 24, seed=1), rand(2, 7, 24, seed=2)
    padding = torch.tensor([[False] * 7, [False] * 4 + [True] * 3])
    found = ours(queries, keys, values, ~padding[:, None, None])
    torch.testing.assert_close(found, theirs(queries, keys, values, key_padding_mask=padding)[0])
    torch.testing.assert_close(ours(queries, keys, values), theirs(queries, keys, values)[0])


def test_attention_starts_as_one_packed_matrix():
    layer = MultiHeadAttention(64, 8)
    bound = (6 / (64 + 3 * 64)) ** 0.5
    for part in (layer.query_proj, layer.key_proj, layer.value_proj):
        assert bound * 0.95 < part.weight.abs().max() <= bound
        assert not part.bias.any()


def test_attention_refuses_heads_that_do_not_divide():
    with pytest.raises(ValueError, match='embed_dims 30 is no multiple of num_heads 4'):
        MultiHeadAttention(30, 4)


def test_dropout_is_for_training_only():
    torch.manual_seed(0)
    model = DETRTransformer(16, 2, 1, 2, 24, dropout=0.5)
    cells, positions, queries = rand(1, 6, 16).float(), rand(1, 6, 16, seed=1).float(), rand(3, 16, seed=2).float()
    assert not torch.equal(model(cells, positions, queries).decoded, model(cells, positions, queries).decoded)
    model.eval()
    assert torch.equal(model(cells, positions, queries).decoded, model(cells, positions, queries).decoded)


def test_transformer_gives_every_decoder_layer_normalised():
    torch.manual_seed(0)
    model = DETRTransformer(16, 2, 2, 3, 24).double().eval()
    found = model(rand(2, 6, 16), rand(1, 6, 16, seed=1), rand(5, 16, seed=2))
    assert found.memory.shape == (2, 6, 16) and found.decoded.shape == (3, 2, 5, 16)
    torch.testing.assert_close(found.decoded.mean(-1), torch.zeros(3, 2, 5, dtype=torch.float64))
    shorter = DETRTransformer(16, 2, 2, 2, 24).double().eval()
    state = {name: value for name, value in model.state_dict().items() if not name.startswith('decoder_layers.2')}
    shorter.load_state_dict(state)
    # The norm of an output is not what the next layer gets.
    torch.testing.assert_close(
        shorter(rand(2, 6, 16), rand(1, 6, 16, seed=1), rand(5, 16, seed=2)).decoded, found.decoded[:2]
    )


def test_attention_ignores_padding():
    torch.manual_seed(0)
    model = DETRTransformer(16, 2, 2, 2, 24).double().eval()
    cells, positions, queries = rand(2, 6, 16), rand(2, 6, 16, seed=1), rand(5, 16, seed=2)
    expected = model(cells, positions, queries)
    more = torch.full((2, 3, 16), 7.0, dtype=torch.float64)
    padding = torch.tensor([[False] * 6 + [True] * 3] * 2)
    found = model(torch.cat([cells, more], 1), torch.cat([positions, more], 1), queries, padding)
    torch.testing.assert_close(found.decoded, expected.decoded)
    torch.testing.assert_close(found.memory[:, :6], expected.memory)


def test_a_transformer_without_encoder_hands_the_map_on():
    model = DETRTransformer(16, 2, 0, 1, 24)
    cells = rand(1, 6, 16).float()
    assert model(cells, cells, rand(3, 16).float()).memory is cells


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(num_decoder_layers=0), 'at least 0 encoder and 1 decoder layers, found 6 and 0'),
        (dict(dropout=1.0), r'dropout must be in \[0, 1\), found 1'),
        (dict(embed_dims=20), 'embed_dims 20 is no multiple of num_heads 8'),
    ],
)
def test_transformer_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        DETRTransformer(**arguments)


def test_mlp_has_relu_between_its_layers():
    torch.manual_seed(0)
    mlp = MLP(4, 6, 2, 3)
    x = rand(5, 4).float()
    first, second, last = mlp.layers
    torch.testing.assert_close(mlp(x), last(second(first(x).relu()).relu()))
    with pytest.raises(ValueError, match='at least 1 layer, not 0'):
        MLP(4, 6, 2, 0)


# Positions.


def test_sine_positions_by_hand():
    encoding = SinePositionEncoding(embed_dims=8, temperature=100.0, eps=0.0)
    found = encoding(torch.zeros(1, 3, 2, 4, dtype=torch.float64))
    assert found.shape == (1, 8, 2, 4)
    row, column = 1 / 2 * 2 * pi, 3 / 4 * 2 * pi  # the first of two rows, the third of four columns
    expected = [
        sin(row),
        cos(row),
        sin(row / 10),
        cos(row / 10),
        sin(column),
        cos(column),
        sin(column / 10),
        cos(column / 10),
    ]
    torch.testing.assert_close(found[0, :, 0, 2], torch.tensor(expected, dtype=torch.float64))
    counted = SinePositionEncoding(8, 100.0, normalize=False)(torch.zeros(1, 3, 2, 4, dtype=torch.float64))
    torch.testing.assert_close(counted[0, 4, 0], torch.tensor([sin(k) for k in (1, 2, 3, 4)], dtype=torch.float64))


def test_sine_positions_run_over_each_image_without_its_padding():
    encoding = SinePositionEncoding(16)
    feats = torch.zeros(2, 1, 6, 8, dtype=torch.float64)
    found = encoding(feats, masked(2, 6, 8, [(6, 8), (3, 5)]))
    torch.testing.assert_close(found[:1], encoding(feats))
    torch.testing.assert_close(found[1:, :, :3, :5], encoding(feats[..., :3, :5]))


def test_positions_take_the_features_type():
    feats = torch.zeros(1, 1, 40, 30, dtype=torch.bfloat16)
    found = SinePositionEncoding(16)(feats)
    assert found.dtype == torch.bfloat16
    # Made in single precision: neighbouring cells differ.
    torch.testing.assert_close(found.float(), SinePositionEncoding(16)(feats.float()), rtol=0, atol=0.004)


def test_learned_positions_are_a_column_and_a_row():
    encoding = LearnedPositionEncoding(6, num_positions=5)
    found = encoding(torch.zeros(2, 1, 3, 5))
    assert found.shape == (1, 6, 3, 5)
    torch.testing.assert_close(found[0, :3, 1, 4], encoding.column_embed.weight[4])
    torch.testing.assert_close(found[0, 3:, 1, 4], encoding.row_embed.weight[1])
    with pytest.raises(ConfigError, match='has 5 positions, but the feature map is 3 x 6; set num_positions to at '):
        encoding(torch.zeros(1, 1, 3, 6))


@pytest.mark.parametrize(
    ('encoding', 'arguments', 'message'),
    [
        (SinePositionEncoding, dict(embed_dims=6), 'multiple of 4, found 6'),
        (SinePositionEncoding, dict(temperature=0.0), 'temperature must be above 0'),
        (LearnedPositionEncoding, dict(embed_dims=5), 'must be even, found 5'),
    ],
)
def test_positions_refuse(encoding, arguments, message):
    with pytest.raises(ValueError, match=message):
        encoding(**arguments)


# Costs and matching.


def build_cost(kind: str, weight: float):
    return MATCH_COSTS.build(dict(type=kind, weight=weight))


def test_costs_by_hand():
    cls_logits = torch.tensor([[[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]]], dtype=torch.float64)  # (B 1, Q 2, C + 1 3)
    bboxes = torch.tensor([[[0.25, 0.25, 0.5, 0.5], [0.5, 0.5, 0.2, 0.2]]], dtype=torch.float64)
    labels, gt_bboxes = torch.tensor([[1]]), torch.tensor([[[0.5, 0.25, 0.5, 0.5]]], dtype=torch.float64)
    arguments = (cls_logits, bboxes, labels, gt_bboxes)
    scores = cls_logits.softmax(-1)[..., 1]
    torch.testing.assert_close(build_cost('ClassCost', 2.0)(*arguments), -2 * scores.unsqueeze(-1))
    probs = torch.tensor([1.0, 0.0], dtype=torch.float64).sigmoid()
    focal = 0.25 * (1 - probs) ** 2 * -probs.log() - 0.75 * probs**2 * -(1 - probs).log()
    torch.testing.assert_close(build_cost('FocalClassCost', 2.0)(*arguments).flatten(), 2 * focal, rtol=0, atol=1e-7)
    torch.testing.assert_close(
        build_cost('BBoxL1Cost', 5.0)(*arguments),
        torch.tensor([[[1.25], [5 * (0.25 + 0.3 + 0.3)]]], dtype=torch.float64),
    )
    # The first shares half of either, its hull is the union; the second shares .2 x .1, its hull is .5 x .6.
    expected = [-1 / 3, -(0.02 / 0.27 - (0.3 - 0.27) / 0.3)]
    torch.testing.assert_close(
        build_cost('GIoUCost', 1.0)(*arguments).flatten(), torch.tensor(expected, dtype=torch.float64)
    )


def test_a_box_whose_edges_crossed_has_no_area():
    """Its size counts as 0, as in the authors' code of RT-DETR and D-FINE; the hull is then the object's box."""
    bboxes = torch.tensor([[[0.5, 0.5, -0.2, 0.4], [0.5, 0.5, 0.0, 0.4]]], dtype=torch.float64)
    labels, gt_bboxes = torch.tensor([[0]]), torch.tensor([[[0.5, 0.5, 0.4, 0.4]]], dtype=torch.float64)
    arguments = rand(1, 2, 2), bboxes, labels, gt_bboxes
    costs = build_cost('GIoUCost', 1.0)(*arguments).flatten()
    torch.testing.assert_close(costs, torch.zeros(2, dtype=torch.float64))
    assert not build_cost('ScoreIoUCost', 1.0)(*arguments).any()
    # Coordinates are compared as they are, so that the edges learn to go back.
    torch.testing.assert_close(build_cost('BBoxL1Cost', 1.0)(*arguments).flatten(), 0.4 - bboxes[0, :, 2])


def test_costs_of_several_layers_and_padded_objects():
    cls_logits, bboxes = rand(3, 2, 4, 6), rand(3, 2, 4, 4, seed=1)
    labels, gt_bboxes = torch.tensor([[0, 4, 2], [1, 0, 0]]), rand(2, 3, 4, seed=2)
    for kind in ('ClassCost', 'FocalClassCost', 'BBoxL1Cost', 'GIoUCost'):
        cost = build_cost(kind, 1.0)
        found = cost(cls_logits, bboxes, labels, gt_bboxes)
        assert found.shape == (3, 2, 4, 3)
        torch.testing.assert_close(found[1, 1:], cost(cls_logits[1, 1:], bboxes[1, 1:], labels[1:], gt_bboxes[1:]))


def match(assigner, cls_logits, bboxes, labels, gt_bboxes, valid):
    """The assignment to ground truth cxcywh relative to images, here of one pixel."""
    gt = GtBatch(
        labels=labels,
        bboxes=cxcywh_to_xyxy(gt_bboxes),
        valid=valid,
        flat_index=valid.flatten().nonzero().squeeze(1),
        img_shapes=torch.ones(len(labels), 2, dtype=torch.int64),
    )
    return assigner(Candidates(cls_logits, bboxes), None, gt)


def assign(assigner, counts, num_queries, layers=1, seed=0):
    """An assignment, the costs that it is of, and its arguments."""
    batch, most = len(counts), max(counts)
    valid = torch.arange(most) < torch.tensor(counts).unsqueeze(1)
    labels = torch.where(valid, torch.arange(most) % 3, torch.tensor(-1))
    arguments = (
        rand(layers, batch, num_queries, 4, seed=seed),
        rand(layers, batch, num_queries, 4, seed=seed + 1),
        labels,
        rand(batch, most, 4, seed=seed + 2) * valid.unsqueeze(-1),
        valid,
    )
    costs = sum(cost(*arguments[:2], labels.clamp(min=0), arguments[3]) for cost in assigner.match_costs)
    return match(assigner, *arguments), costs, arguments


@pytest.mark.parametrize('seed', range(3))
def test_matching_has_the_least_total_cost(seed):
    counts, queries = (3, 0, 4), 5
    assigned, costs, arguments = assign(HungarianAssigner(), counts, queries, layers=2, seed=seed)
    assert assigned.prior_idx.shape == (2, 3, 4, 1) and assigned.scores is None
    assert torch.equal(assigned.valid.squeeze(-1), arguments[-1].expand(2, -1, -1))
    assert torch.equal(assigned.gt_idx.squeeze(-1), torch.arange(4).expand(2, 3, -1))
    for layer in range(2):
        for image, count in enumerate(counts):
            own = assigned.prior_idx[layer, image, :count, 0].tolist()
            least = min(
                permutations(range(queries), count),
                key=lambda order: sum(costs[layer, image, q, k].item() for k, q in enumerate(order)),
            )
            assert own == list(least)
    assert not assigned.prior_idx[~assigned.valid].any()


def test_more_objects_than_queries_leave_the_costliest_out():
    assigned, costs, _ = assign(HungarianAssigner(), (5, 2), 3)
    assert assigned.valid.sum((2, 3)).tolist() == [[3, 2]]
    taken = assigned.prior_idx[0, 0, assigned.valid[0, 0, :, 0], 0]
    assert sorted(taken.tolist()) == [0, 1, 2]
    objects = assigned.valid[0, 0, :, 0].nonzero().flatten()
    found = costs[0, 0][taken, objects].sum()
    least = min(sum(costs[0, 0, q, k].item() for q, k in enumerate(order)) for order in permutations(range(5), 3))
    assert found.item() == pytest.approx(least)


def test_matching_without_any_object():
    assigned, _, _ = assign(HungarianAssigner(), (0, 0), 3, layers=2)
    assert assigned.prior_idx.shape == (2, 2, 0, 1) and assigned.valid.shape == (2, 2, 0, 1)


def test_matching_survives_numbers_that_are_none():
    """So that the loss, which is none either, stops the run with its own message."""
    _, _, (cls_logits, bboxes, labels, gt_bboxes, valid) = assign(HungarianAssigner(), (2, 3), 4)
    cls_logits[0, 0, 1], bboxes[0, 1] = torch.nan, torch.inf
    assigned = match(HungarianAssigner(), cls_logits, bboxes, labels, gt_bboxes, valid)
    assert torch.equal(assigned.valid[0, ..., 0], valid)
    assert 1 not in assigned.prior_idx[0, 0, :2]  # such a query comes last


def test_matching_takes_the_costs_it_is_given():
    costs = [dict(type='BBoxL1Cost', weight=1.0)]
    assigned, _, (_, bboxes, _, gt_bboxes, _) = assign(HungarianAssigner(costs), (1,), 6)
    nearest = (bboxes[0, 0] - gt_bboxes[0]).abs().sum(-1).argmin()
    assert assigned.prior_idx.item() == nearest


@pytest.mark.parametrize('costs', [[], [dict(type='ClassCost', weight=0.0)]])
def test_matching_needs_a_cost(costs):
    with pytest.raises(ConfigError, match='needs at least one cost'):
        HungarianAssigner(costs)


def test_a_negative_weight_is_refused():
    with pytest.raises(ConfigError, match='GIoUCost: weight must not be negative, found -2'):
        build_cost('GIoUCost', -2.0)


# Coder and losses.


def test_relative_boxes_go_there_and_back():
    coder = CODERS.build(dict(type='RelativeBBoxCoder'))
    img_shapes = torch.tensor([[50, 100], [80, 40]])
    bboxes = torch.tensor([[[10.0, 5.0, 30.0, 25.0]], [[0.0, 0.0, 40.0, 80.0]]])
    encoded = coder.encode(bboxes, img_shapes)
    torch.testing.assert_close(encoded, torch.tensor([[[0.2, 0.3, 0.2, 0.4]], [[0.5, 0.5, 1.0, 1.0]]]))
    torch.testing.assert_close(coder.decode(encoded, img_shapes), bboxes)
    layers = coder.decode(encoded.expand(3, -1, -1, -1), img_shapes)  # with a leading axis too
    torch.testing.assert_close(layers, bboxes.expand(3, -1, -1, -1))


def test_the_last_class_counts_less():
    logits, labels = rand(6, 4), torch.tensor([0, 3, 3, 1, 3, 2])
    weight = torch.tensor([1.0, 1.0, 1.0, 0.1], dtype=torch.float64)
    found = CrossEntropyLoss(2.0, last_class_weight=0.1)(logits, labels)
    each = F.cross_entropy(logits, labels, reduction='none')
    torch.testing.assert_close(found, 2 * (each * weight[labels]).sum() / weight[labels].sum())
    torch.testing.assert_close(CrossEntropyLoss()(logits, labels), each.mean())
    with pytest.raises(ValueError, match='last_class_weight must be above 0'):
        CrossEntropyLoss(last_class_weight=0.0)


def test_l1_loss_by_hand():
    bboxes = torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0]])
    targets = torch.tensor([[2.0, 0.0, 3.0, 5.0], [9.0, 9.0, 9.0, 9.0]])
    assert L1Loss(5.0)(bboxes, targets, torch.tensor([1.0, 0.0]), 2.0).item() == pytest.approx(5 * (1 + 2 + 0 + 1) / 2)
    assert L1Loss()(bboxes[:0], targets[:0], bboxes[:0, 0], 1.0).item() == 0


def test_iou_loss_of_small_units_needs_a_small_eps():
    bboxes, targets = (
        torch.tensor([[0.1, 0.1, 0.102, 0.102]]).double(),
        torch.tensor([[0.1, 0.1, 0.102, 0.103]]).double(),
    )
    one = torch.ones(1).double()
    exact = 1 - 2 / 3
    assert IoULoss('giou', eps=1e-12)(bboxes, targets, one, 1.0).item() == pytest.approx(exact, abs=1e-6)
    assert abs(IoULoss('giou')(bboxes, targets, one, 1.0).item() - exact) > 1e-3
    same = torch.tensor([[0.5, 0.5, 0.5, 0.5]])
    assert torch.isfinite(IoULoss('giou', eps=1e-12)(same, same, torch.ones(1), 1.0))
