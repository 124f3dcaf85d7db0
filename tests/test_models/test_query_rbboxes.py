"""Rotated boxes of queries: turned points, coder, costs, denoising, edges, and the heads of three families."""

from math import pi

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from detkit.models.assigners import HungarianAssigner, RotatedHungarianAssigner
from detkit.models.coders import RelativeRBBoxCoder
from detkit.models.layers.deformable_attention import DeformableAttention, attend_to_points
from detkit.models.layers.denoising import ContrastiveDenoising
from detkit.models.layers.distribution_decoder import BinScale
from detkit.models.layers.turned_boxes import box_features, described_like, refine, turn
from detkit.models.losses import prob_iou
from detkit.registry import HEADS, MATCH_COSTS
from detkit.structures.gt_batch import GtBatch
from detkit.structures.rotated_tensors import normalize_rbboxes, rbbox_corners
from detkit.structures.targets import Candidates
from detkit.utils.errors import ConfigError

CHANNELS, STRIDES = (8, 12, 16), (8, 16, 32)
HEIGHT, WIDTH = 64, 96
DECODER = dict(embed_dims=16, num_heads=2, num_layers=2, num_points=2, feedforward_dims=16)
NAMES = {
    'RTDETROBBHead': ('DeformableDecoder', dict(num_denoising=4)),
    'DFINEOBBHead': ('DistributionDecoder', dict(num_denoising=4)),
    'RFDETROBBHead': ('LiteDecoder', dict(num_groups=3)),
}


def build_head(name: str, **arguments) -> nn.Module:
    torch.manual_seed(0)
    decoder, own = NAMES[name]
    head = dict(type=name, num_classes=3, in_channels=CHANNELS, strides=STRIDES, num_queries=6, **own)
    head['decoder'] = dict(type=decoder, **DECODER, **arguments.pop('decoder', {}))
    return HEADS.build({**head, **arguments})


def feats() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(2, width, HEIGHT // stride, WIDTH // stride, generator=generator)
        for width, stride in zip(CHANNELS, STRIDES, strict=True)
    ]


def ground_truth(counts: list[int]) -> GtBatch:
    """Rotated boxes within images of 64 x 96 pixels."""
    generator = torch.Generator().manual_seed(2)
    most = max(counts)
    valid = torch.arange(most) < torch.tensor(counts).unsqueeze(1)
    rand = torch.rand(len(counts), most, 5, generator=generator)
    rbboxes = rand * torch.tensor([60, 40, 20, 8, pi]) + torch.tensor([18, 12, 14, 5, -pi / 4])
    return GtBatch(
        labels=torch.where(valid, torch.arange(most) % 3, -1),
        bboxes=torch.zeros(len(counts), most, 4),
        valid=valid,
        flat_index=valid.flatten().nonzero().squeeze(1),
        img_shapes=torch.tensor([[HEIGHT, WIDTH]] * len(counts)),
        rbboxes=rbboxes * valid.unsqueeze(-1),
    )


# -- geometry -------------------------------------------------------------------------------------------------------


def test_attention_to_single_cells_learns_no_offsets():
    layer = DeformableAttention(8, 2, (2, 2), discrete=True)
    sizes = [(4, 4), (2, 2)]
    layer(torch.randn(1, 3, 8), torch.rand(1, 3, 4), torch.randn(1, 20, 8), sizes).sum().backward()
    # Of several processes each waits for the gradient of what is trained.
    without = {name for name, param in layer.named_parameters() if param.grad is None}
    assert without == {'offsets.weight', 'offsets.bias'}
    assert not any(param.requires_grad for param in layer.offsets.parameters())


def test_turned_offsets_are_turned_in_pixels():
    generator = torch.Generator().manual_seed(0)
    offsets, angles = torch.rand(20, 2, generator=generator).double() - 0.5, torch.linspace(-4, 4, 20).double()
    turned = turn(offsets, angles, (HEIGHT, WIDTH))
    for offset, angle, found in zip(offsets.numpy(), angles.tolist(), turned.numpy(), strict=True):
        x, y = offset[0] * WIDTH, offset[1] * HEIGHT
        matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        assert found * (WIDTH, HEIGHT) == pytest.approx(matrix @ np.array([x, y]), abs=1e-9)
    torch.testing.assert_close(turn(turned, -angles, (HEIGHT, WIDTH)), offsets)


@pytest.mark.parametrize('turn_points', [True, False])
def test_points_turn_with_the_box(turn_points):
    torch.manual_seed(0)
    attention = DeformableAttention(8, 2, (3, 2), turn_points=turn_points).double()
    nn.init.normal_(attention.offsets.weight, std=0.5)
    sizes = [(8, 12), (4, 6)]
    queries, memory = torch.randn(1, 4, 8).double(), torch.randn(1, 96 + 24, 8).double()
    rbboxes = torch.tensor([[0.5, 0.4, 0.3, 0.2, angle] for angle in (0.0, 0.5, pi / 2, 2.0)]).double()[None]
    # One query and point after the other, in pixels of an image of 64 x 96.
    offsets = attention.offsets(queries).detach().view(1, 4, 2, 5, 2)
    points = torch.zeros(1, 2, 5, 4, 2).double()
    for query in range(4):
        cx, cy, w, h, angle = (float(value) for value in rbboxes[0, query])
        angle = angle if turn_points else 0.0
        for head in range(2):
            for point in range(5):
                share = 1 / (3 if point < 3 else 2) * 0.5
                along = float(offsets[0, query, head, point, 0]) * share * w * WIDTH
                across = float(offsets[0, query, head, point, 1]) * share * h * HEIGHT
                x = cx * WIDTH + along * np.cos(angle) - across * np.sin(angle)
                y = cy * HEIGHT + along * np.sin(angle) + across * np.cos(angle)
                points[0, head, point, query] = torch.tensor([x / WIDTH, y / HEIGHT])
    values = attention.value_proj(memory).view(1, 120, 2, 4).permute(0, 2, 3, 1)
    weights = attention.weights(queries).view(1, 4, 2, 5).softmax(-1).permute(0, 2, 3, 1)
    expected = attention.out_proj(attend_to_points(values, sizes, points, weights, (3, 2)))
    torch.testing.assert_close(attention(queries, rbboxes, memory, sizes), expected)
    # Without an angle, boxes are upright.
    upright = torch.cat((rbboxes[..., :4], torch.zeros(1, 4, 1).double()), -1)
    torch.testing.assert_close(
        attention(queries, upright, memory, sizes), attention(queries, rbboxes[..., :4], memory, sizes)
    )


def test_boxes_are_refined_by_logits_and_angles():
    rbboxes = torch.tensor([[0.5, 0.4, 0.2, 0.1, 3.0]])
    assert torch.allclose(refine(rbboxes, torch.zeros(1, 5)), rbboxes, atol=1e-6)
    refined = refine(rbboxes, torch.tensor([[0.3, 0.0, 0.0, -0.2, 0.5]]))
    torch.testing.assert_close(refined[:, :4], refine(rbboxes[:, :4], torch.tensor([[0.3, 0.0, 0.0, -0.2]])))
    assert refined[0, 4] == 3.5
    turned = rbboxes + torch.tensor([0, 0, 0, 0, pi])
    torch.testing.assert_close(box_features(rbboxes), box_features(turned), atol=1e-5, rtol=0)


def test_the_nearest_description_is_the_same_rectangle():
    gt = ground_truth([3, 3])
    relative = RelativeRBBoxCoder().encode(gt.rbboxes, gt.img_shapes)
    angles = relative[..., 4] + torch.tensor([[0.3, 1.4, 3.0], [-1.7, -6.0, 0.7]])
    shape = torch.tensor([float(HEIGHT)]), torch.tensor([float(WIDTH)])
    described = described_like(relative, angles, shape)
    assert ((described[..., 4] - angles).abs() <= pi / 4 + 1e-6).all()
    pixels = RelativeRBBoxCoder().decode(described, gt.img_shapes)
    torch.testing.assert_close(normalize_rbboxes(pixels), normalize_rbboxes(gt.rbboxes), atol=1e-4, rtol=1e-5)
    assert torch.equal(pixels[..., 2] < pixels[..., 3], torch.tensor([[False, True, False], [True, False, False]]))


def test_a_box_across_its_object_is_not_held_there():
    """Its sides are exchanged instead, which leads downhill all the way."""
    head = build_head('RTDETROBBHead')
    target = torch.tensor([[0.5, 0.5, 0.3, 0.2, 0.2]])
    bboxes = (target + torch.tensor([0, 0, 0, 0, pi / 2])).requires_grad_()
    shapes = torch.tensor([[64, 64]])
    for _ in range(300):
        losses = head.pair_losses(bboxes, target, shapes, torch.ones(1), 1.0)
        (gradient,) = torch.autograd.grad(sum(losses.values()), bboxes)
        bboxes = (bboxes - 0.002 * gradient.sign()).detach().requires_grad_()
    assert head.overlaps(bboxes, target, shapes) > 0.9


def test_coder_round_trip_is_the_box_in_pixels():
    gt = ground_truth([3, 2])
    relative = RelativeRBBoxCoder().encode(gt.rbboxes, gt.img_shapes)
    torch.testing.assert_close(RelativeRBBoxCoder().decode(relative, gt.img_shapes), gt.rbboxes)
    stacked = RelativeRBBoxCoder().decode(relative.expand(4, -1, -1, -1), gt.img_shapes)
    torch.testing.assert_close(stacked[3], gt.rbboxes)
    assert relative[0, 0, 4] == gt.rbboxes[0, 0, 4] and relative[0, 0, 2] == gt.rbboxes[0, 0, 2] / WIDTH


# -- costs ----------------------------------------------------------------------------------------------------------


def slow_prob_iou(first: np.ndarray, second: np.ndarray) -> float:
    """The overlap of the normal distributions of two boxes (arXiv:2106.06072), by matrices."""

    def normal(box):
        turned = np.array([[np.cos(box[4]), -np.sin(box[4])], [np.sin(box[4]), np.cos(box[4])]])
        return box[:2], turned @ np.diag(box[2:4] ** 2 / 12) @ turned.T

    (mean, covariance), (other, other_covariance) = normal(first), normal(second)
    middle = (covariance + other_covariance) / 2
    difference = mean - other
    distance = difference @ np.linalg.solve(middle, difference) / 8
    distance += np.log(np.linalg.det(middle) / np.sqrt(np.linalg.det(covariance) * np.linalg.det(other_covariance))) / 2
    return 1 - np.sqrt(1 - np.exp(-distance))


def test_costs_of_pairs_are_those_of_pixels():
    gt = ground_truth([3, 2])
    generator = torch.Generator().manual_seed(5)
    noise = 1 + (torch.rand(2, 2, 6, 5, generator=generator) - 0.5) * 0.4
    pixels = (gt.rbboxes.repeat(1, 2, 1) * noise).double()  # (L, B, Q, 5)
    pixels[..., 2:4].clamp_(min=1)
    relative = RelativeRBBoxCoder().encode(pixels.flatten(0, 1), gt.img_shapes.repeat(2, 1)).view(2, 2, 6, 5)
    assigner = RotatedHungarianAssigner([dict(type='ProbIoUCost', weight=2.0)])
    candidates, objects = assigner._boxes(relative, gt)
    costs = assigner.match_costs[0](torch.zeros(2, 2, 6, 3), candidates, gt.labels.clamp(min=0), objects)
    for layer, image, query, column in np.ndindex(2, 2, 6, 3):
        if gt.valid[image, column]:
            box = gt.rbboxes[image, column].double().numpy()
            expected = -2 * slow_prob_iou(pixels[layer, image, query].numpy(), box)
            assert float(costs[layer, image, query, column]) == pytest.approx(expected, abs=2e-3)


def test_an_object_gets_the_query_that_lies_on_it():
    gt = ground_truth([3, 2])
    relative = RelativeRBBoxCoder().encode(gt.rbboxes, gt.img_shapes).flip(1)
    relative[..., 4] += pi  # the same boxes
    assigned = RotatedHungarianAssigner()(Candidates(torch.zeros(2, 3, 3), relative), None, gt)
    assert assigned.prior_idx.squeeze(-1)[gt.valid].tolist() == [2, 1, 0, 2, 1]
    empty = RotatedHungarianAssigner()(Candidates(torch.zeros(2, 3, 3), relative), None, ground_truth([0, 0]))
    assert empty.prior_idx.shape == (2, 0, 1)


def test_a_box_whose_edges_crossed_is_not_taken_for_its_mirror_image():
    target = torch.tensor([[0.5, 0.5, 0.4, 0.2, 0.3]])
    crossed, flat = target.clone(), target.clone()
    crossed[0, 2], flat[0, 2] = -0.4, 0.0
    labels = torch.zeros(1, 1, dtype=torch.int64)
    costs = [
        MATCH_COSTS.build(dict(type='ProbIoUCost'))(None, box[None], labels, target[None]) for box in (crossed, flat)
    ]
    assert costs[0] == costs[1] > -0.5
    head, shapes = build_head('DFINEOBBHead'), torch.tensor([[64, 96]])
    crossed.requires_grad_()
    assert head.overlaps(crossed, target, shapes) == head.overlaps(flat, target, shapes)
    losses, expected = (head.pair_losses(box, target, shapes, torch.ones(1), 1.0) for box in (crossed, flat))
    assert losses['loss_giou'] == expected['loss_giou'] > 0.5
    sum(losses.values()).backward()
    assert crossed.grad.isfinite().all() and crossed.grad[0, 2] < 0  # its width grows


def test_costs_of_the_other_kind_of_boxes_are_refused():
    with pytest.raises(ConfigError, match='HungarianAssigner: match_costs has ProbIoUCost, .* upright boxes'):
        HungarianAssigner([dict(type='ProbIoUCost')])
    with pytest.raises(ConfigError, match='RotatedHungarianAssigner: match_costs has GIoUCost, .* rotated boxes'):
        RotatedHungarianAssigner([dict(type='ClassCost'), dict(type='GIoUCost')])


# -- denoising and edges --------------------------------------------------------------------------------------------


def test_noise_moves_sides_in_their_own_directions():
    gt = ground_truth([3, 2])
    relative = RelativeRBBoxCoder().encode(gt.rbboxes, gt.img_shapes)
    denoising = ContrastiveDenoising(3, 8, num_queries=300, label_noise=0.0)
    noisy = denoising(gt.labels, relative, gt.valid, gt.img_shapes).bboxes
    copies = noisy.shape[1] // 3
    pixels = RelativeRBBoxCoder().decode(noisy, gt.img_shapes)
    wanted = gt.rbboxes.repeat(1, copies, 1)
    difference = pixels - wanted
    cos, sin = wanted[..., 4].cos(), wanted[..., 4].sin()
    along = difference[..., 0] * cos + difference[..., 1] * sin
    across = difference[..., 1] * cos - difference[..., 0] * sin
    # How far the four sides moved, in units of half a side of the box; the far ones belong to negative queries.
    halves = wanted[..., 2:4] / 2
    moves = torch.stack(
        [
            (along - difference[..., 2] / 2) / halves[..., 0],
            (along + difference[..., 2] / 2) / halves[..., 0],
            (across - difference[..., 3] / 2) / halves[..., 1],
            (across + difference[..., 3] / 2) / halves[..., 1],
        ],
        -1,
    ).abs()
    negative = torch.arange(noisy.shape[1]) % 6 >= 3
    # Sides that crossed have the least length, and centres stay in the image.
    inside = (pixels[..., 2:4] > 0.1).all(-1) & ((noisy[..., :2] - 0.5).abs() < 0.499).all(-1)
    inside &= (noisy[..., 2:4] < 0.999).all(-1) & gt.valid.repeat(1, copies)
    turned = difference[..., 4].abs()
    for rows, low in ((~negative, 0), (negative, 1)):
        chosen = inside & rows
        assert (moves[chosen] > low - 1e-3).all() and (moves[chosen] < low + 1 + 1e-3).all()
        assert (turned[chosen] >= low * pi / 12 - 1e-5).all() and (turned[chosen] <= (low + 1) * pi / 12 + 1e-5).all()
    assert moves[inside & ~negative].mean() == pytest.approx(0.5, abs=0.05)


def test_edges_of_turned_boxes_come_back():
    scale = BinScale()
    generator = torch.Generator().manual_seed(3)
    rand = torch.rand(40, 5, generator=generator)
    initial = rand * torch.tensor([0.2, 0.2, 0.1, 0.1, 3.0]) + torch.tensor([0.4, 0.4, 0.2, 0.1, -1.0])
    change = (torch.rand(40, 5, generator=generator) - 0.5) * torch.tensor([0.04, 0.04, 0.05, 0.03, 0.3])
    targets = initial + change
    targets[::2, 4] += pi  # the same boxes
    shapes = torch.tensor([[HEIGHT, WIDTH]] * 40).float()
    bins = scale.turned_bins(initial, targets, shapes.unbind(-1))
    whole = bins.floor().long()
    share = bins - whole
    distributions = torch.zeros(40, 4, 33).scatter(-1, whole[..., None], 1 - share[..., None])
    distributions = distributions.scatter(-1, whole[..., None] + 1, share[..., None])
    start = torch.cat((initial[:, :4], targets[:, 4:]), -1)
    start[::2, 4] -= pi
    moved = scale.move(start, (distributions + 1e-30).log(), (HEIGHT, WIDTH))
    moved[::2, 4] += pi
    torch.testing.assert_close(moved, targets, atol=1e-4, rtol=0)


# -- heads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('counts', [[0, 0], [2, 0], [1, 3]])
def test_every_parameter_learns(name, counts):
    head, gt = build_head(name).train(), ground_truth(counts)
    preds = head(feats(), gt=gt) if head.needs_gt else head(feats())
    losses = head.loss(preds, gt)
    assert {'loss_cls', 'loss_box', 'loss_giou', 'loss_angle', 'loss_aux', 'loss_enc'} <= set(losses)
    assert all(torch.isfinite(value) for value in losses.values())
    assert (losses['loss_box'] > 0) == (losses['loss_angle'] > 0) == bool(sum(counts))
    sum(losses.values()).backward()
    trained = {key: param for key, param in head.named_parameters() if param.requires_grad}
    assert [key for key, param in trained.items() if param.grad is None or not param.grad.isfinite().all()] == []


@pytest.mark.parametrize('name', NAMES)
def test_results_are_in_pixels_of_the_original_image(name):
    head = build_head(name, test_cfg=dict(max_per_img=5)).eval()
    matrix = np.diag([0.5, 0.5, 1.0])
    metas = [dict(matrix=matrix, ori_shape=(2 * HEIGHT, 2 * WIDTH), img_shape=(HEIGHT, WIDTH))] * 2
    with torch.no_grad():
        preds = head(feats())
        decoded = head.decode(preds)
        results = head.predict(preds, metas)
    assert set(decoded) == {'rbboxes', 'scores'} and decoded['rbboxes'].shape == (2, 6, 5)
    found = results[0].pred_instances
    query = decoded['scores'][0].amax(-1).argmax()
    wanted = normalize_rbboxes(decoded['rbboxes'][0, query]) * torch.tensor([2, 2, 2, 2, 1.0])
    torch.testing.assert_close(found.rbboxes[0], wanted, atol=1e-4, rtol=1e-5)
    corners = rbbox_corners(wanted)
    limits = torch.tensor([2.0 * WIDTH, 2.0 * HEIGHT])
    torch.testing.assert_close(found.bboxes[0, :2], corners.amin(0).clamp(min=0), atol=1e-3, rtol=0)
    torch.testing.assert_close(found.bboxes[0, 2:], corners.amax(0).minimum(limits), atol=1e-3, rtol=0)


@pytest.mark.parametrize('name', NAMES)
def test_without_angles_a_loss_is_that_of_boxes_half_a_turn_on(name):
    head = build_head(name).eval()
    gt, turned = ground_truth([1, 3]), ground_truth([1, 3])
    turned.rbboxes[..., 4] += pi
    preds = head(feats())
    torch.testing.assert_close(head.loss(preds, gt), head.loss(preds, turned), atol=1e-4, rtol=1e-4)


def test_classes_learn_the_overlap_in_pixels():
    head, gt = build_head('RTDETROBBHead').eval(), ground_truth([1, 3])
    rbboxes = gt.rbboxes[1] + torch.tensor([2.0, -1.0, 3.0, 1.0, 0.2])
    shapes = gt.img_shapes[:1].expand(3, -1)
    units = torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT, 1.0])
    found = head.overlaps(rbboxes / units, gt.rbboxes[1] / units, shapes)
    torch.testing.assert_close(found, prob_iou(rbboxes, gt.rbboxes[1]), atol=1e-4, rtol=1e-4)


def test_a_batch_without_rotated_boxes_is_refused():
    head, gt = build_head('RTDETROBBHead').train(), ground_truth([1, 3])
    gt.rbboxes = None
    with pytest.raises(ValueError, match='RTDETROBBHead learns rotated boxes, but the batch has none'):
        head(feats(), gt=gt)
