"""D-FINE's parts: the scale of bins, the union of matches, distillation, and the number of parameters of each size."""

import pytest
import torch
from builders import build_model
from gt_batches import make_gt

from detkit.models.heads.dfine_head import DFINEHead, union_of_layers
from detkit.models.heads.query_head import Matches
from detkit.models.layers.distribution_decoder import BinScale, DistributionDecoder
from detkit.models.losses import DistillationLoss
from detkit.utils.errors import ConfigError

COUNTS = {'n': 3_782_693, 's': 10_321_877, 'm': 19_590_064, 'l': 31_244_152, 'x': 62_621_560}


@pytest.mark.parametrize('size', COUNTS)
def test_parameters_are_those_of_the_authors_models(size):
    model = build_model('dfine', device='meta', size=size)
    assert sum(param.numel() for param in model.parameters()) == COUNTS[size]


def test_bins_are_fine_near_zero():
    distances = BinScale(8, up=0.5, reg_scale=4.0).distances()
    step = 3 ** (1 / 3)
    inner = [step - 1, step**2 - 1, 2.0]
    torch.testing.assert_close(distances, torch.tensor([-4.0, *(-d for d in inner[::-1]), 0.0, *inner, 4.0]))
    for reg_max in (7, 2):
        with pytest.raises(ConfigError, match='reg_max must be even'):
            BinScale(reg_max)


def test_moving_edges_and_finding_their_bins_are_inverse():
    scale = BinScale().double()
    initial = torch.tensor([[0.5, 0.4, 0.2, 0.4]], dtype=torch.float64)
    bins = torch.tensor([[16.0, 20.25, 3.5, 31.5]], dtype=torch.float64)
    below = bins.long()
    logits = torch.full((1, 4, 33), -1e4, dtype=torch.float64)
    logits.scatter_(2, below.unsqueeze(-1), (1 - (bins - below)).clamp(min=1e-300).log().unsqueeze(-1))
    logits.scatter_(2, (below + 1).unsqueeze(-1), (bins - below).clamp(min=1e-300).log().unsqueeze(-1))
    moved = scale.move(initial, logits)
    centres, halves = moved[:, :2], moved[:, 2:] / 2
    torch.testing.assert_close(scale.bins(initial, torch.cat([centres - halves, centres + halves], 1)), bins)
    # By hand: the left edge stays, as bin 16 stands for 0; a unit is a fourth of the side.
    distances = scale.distances()
    assert (centres - halves)[0, 0].item() == pytest.approx(0.4)
    right = 0.6 + 0.05 * (distances[3] + distances[4]).item() / 2
    assert (centres + halves)[0, 0].item() == pytest.approx(right)


def test_edges_out_of_reach_take_the_outermost_bins():
    scale = BinScale()
    bins = scale.bins(torch.tensor([[0.5, 0.5, 0.1, 0.1]]), torch.tensor([[-9.0, 0.5, 9.0, 0.5]]))
    assert bins[0, 0] < 32 and bins[0, 0] == pytest.approx(32) and bins[0, 2] == pytest.approx(32)
    flat = scale.bins(torch.tensor([[0.5, 0.5, 0.0, 0.0]]), torch.tensor([[0.4, 0.4, 0.6, 0.6]]))
    assert flat.isfinite().all()


def test_before_training_boxes_stay():
    torch.manual_seed(0)
    decoder = DistributionDecoder(16, 2, 2, 3, 2, 16)
    bboxes = torch.rand(2, 5, 4) * 0.4 + 0.2
    decoded = decoder(torch.rand(2, 5, 16), bboxes, torch.rand(2, 20, 16), [(4, 4), (2, 2)])
    torch.testing.assert_close(decoded.initial_bboxes, bboxes)
    torch.testing.assert_close(decoded.bboxes, bboxes.expand(3, -1, -1, -1))
    assert decoded.edge_logits.shape == (3, 2, 5, 4, 33) and not decoded.edge_logits.any()


@pytest.mark.parametrize('arguments', [dict(num_points=(2, 2)), dict(num_layers=0)])
def test_wrong_arguments_are_named(arguments):
    with pytest.raises(ConfigError, match='DistributionDecoder: num_'):
        DistributionDecoder(16, 2, 3, **arguments)


def test_the_union_gives_each_query_the_object_of_most_layers():
    gt = make_gt([2, 1], 16, 3)
    assert gt.labels.shape == (2, 2)
    # Of three layers, the queries (of 4 an image) of the objects 0 and 1 of the first image and 0 of the second.
    query_idx = torch.tensor([[1, 3, 6], [3, 1, 6], [3, 0, 7]])
    weight = torch.tensor([[1.0, 1, 1], [1, 1, 1], [1, 1, 0]])
    matches = Matches(torch.tensor([0, 1, 2]), query_idx, weight, 3.0)
    union = union_of_layers(matches, gt, 4)
    assert union.weight[0].tolist() == [1, 1, 0, 1, 0, 0, 1, 0] and union.avg_factor == 4
    # Query 1 has both once: the first counts. Query 3 has object 0 twice.
    assert union.object_idx[[0, 1, 3, 6]].tolist() == [1, 0, 0, 2]
    assert (union.query_idx == torch.arange(8)).all() and union.query_idx.shape == (3, 8)


def test_distillation_is_the_divergence_at_a_temperature():
    torch.manual_seed(0)
    logits, teacher = (torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    p, q = ((values / 2).softmax(-1) for values in (teacher, logits))
    expected = 4 * (p * (p / q).log()).sum(-1).mean(-1)
    weight = torch.tensor([1.0, 0.0, 2.0], dtype=torch.float64)
    loss = DistillationLoss(0.5, temperature=2.0)(logits, teacher, weight, 3.0)
    torch.testing.assert_close(loss, 0.5 * (expected * weight).sum() / 3)
    loss.backward()
    assert teacher.grad is None and logits.grad[0].abs().sum() > 0 and not logits.grad[1].any()
    assert DistillationLoss()(logits, logits, avg_factor=1.0).abs() < 1e-12
    with pytest.raises(ValueError, match='temperature must be above 0'):
        DistillationLoss(temperature=0.0)


def small_head() -> DFINEHead:
    torch.manual_seed(0)
    decoder = dict(
        type='DistributionDecoder', embed_dims=16, num_heads=2, num_layers=2, num_points=2, feedforward_dims=16
    )
    return DFINEHead(3, in_channels=(16, 24), strides=(8, 16), num_queries=6, num_denoising=4, decoder=decoder)


@pytest.mark.parametrize('counts', [[0, 0], [2, 0]])
def test_a_step_with_and_without_objects(counts):
    head, gt = small_head().train(), make_gt(counts, 32, 3)
    assert isinstance(head.in_convs[0], torch.nn.Identity) and not isinstance(head.in_convs[1], torch.nn.Identity)
    preds = head((torch.rand(2, 16, 4, 4), torch.rand(2, 24, 2, 2)), None, gt)
    losses = head.loss(preds, gt)
    assert all(value.isfinite() for value in losses.values())
    assert (losses['loss_box'] > 0) == (losses['loss_dfl'] > 0) == bool(counts[0])
    sum(losses.values()).backward()
    frozen = {name for name, param in head.named_parameters() if not param.requires_grad}
    assert frozen == {'decoder.bin_scale.up', 'decoder.bin_scale.reg_scale'}
    assert all(param.grad is None or param.grad.isfinite().all() for param in head.parameters())


def test_a_box_whose_edges_crossed_is_learnt_as_one_without_area():
    head, decoder = small_head(), BinScale()
    edge_logits = torch.zeros(1, 4, 33)
    edge_logits[0, ::2, 0] = 50.0  # the left and the right edge move inwards by twice up * reg_scale units
    crossed = decoder.move(torch.tensor([[0.5, 0.5, 0.4, 0.4]]), edge_logits).requires_grad_()
    torch.testing.assert_close(crossed.detach(), torch.tensor([[0.5, 0.5, -0.4, 0.4]]))
    targets, shapes = torch.tensor([[0.5, 0.5, 0.4, 0.4]]), torch.tensor([[32, 32]])
    losses = head.pair_losses(crossed, targets, shapes, torch.ones(1), 1.0)
    torch.testing.assert_close(losses['loss_giou'].item(), head.loss_iou.loss_weight)  # GIoU 0: the hull is the target
    assert head.overlaps(crossed, targets, shapes).item() == 0
    sum(losses.values()).backward()
    assert crossed.grad.isfinite().all() and crossed.grad[0, 2] < 0  # its width grows


def test_all_queries_matched_or_none_leaves_distillation_finite():
    head, gt = small_head().train(), make_gt([6], 32, 3)
    preds = head((torch.rand(1, 16, 4, 4), torch.rand(1, 24, 2, 2)), None, gt)
    assert head.loss(preds, gt)['loss_distill'].isfinite()
