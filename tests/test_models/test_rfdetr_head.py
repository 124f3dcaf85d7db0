"""RF-DETR's head: sizes, groups, what training and evaluation return, few cells, masks on this and other decoders."""

import pytest
import torch
from builders import model_config
from gt_batches import make_gt
from torch import nn

from detkit.engine.finetune import load_weights
from detkit.models.layers.lite_decoder import box_sines, change_boxes
from detkit.models.losses import IoUAwareBCELoss
from detkit.registry import DETECTORS, HEADS
from detkit.structures.targets import QualityTargets
from detkit.utils.errors import ConfigError
from detkit.utils.without_memory import without_memory

COUNTS = {
    ('rfdetr', 'n'): 30_467_298,
    ('rfdetr', 's'): 32_111_170,
    ('rfdetr', 'm'): 33_687_458,
    ('rfdetr', 'l'): 33_933_218,
    ('rfdetr_seg', 'n'): 33_577_475,
    ('rfdetr_seg', 's'): 33_711_107,
    ('rfdetr_seg', 'm'): 35_694_259,
    ('rfdetr_seg', 'l'): 35_873_971,
    ('rfdetr_seg', 'xl'): 38_113_635,
    ('rfdetr_seg', '2xl'): 38_648_163,
}
# With one group of queries, as in prediction.
SINGLE = {('rfdetr', 'n'): 26_863_662, ('rfdetr_seg', 'l'): 32_582_335}
DECODER = dict(embed_dims=16, num_heads=2, num_layers=2, num_points=2, feedforward_dims=16)


@pytest.mark.parametrize('base, size', COUNTS)
def test_parameters_are_the_published_ones(base, size):
    config = model_config(base, 91, size=size)
    with without_memory():
        model = DETECTORS.build(config)
    assert sum(param.numel() for param in model.parameters()) == COUNTS[base, size]
    if (base, size) in SINGLE:
        config.head.num_groups = 1
        with without_memory():
            model = DETECTORS.build(config)
        assert sum(param.numel() for param in model.parameters()) == SINGLE[base, size]


def build_head(kind: str = 'RFDETRHead', decoder: str = 'LiteDecoder', **arguments) -> nn.Module:
    torch.manual_seed(0)
    head = dict(
        type=kind,
        num_classes=5,
        in_channels=(12, 16),
        strides=(8, 16),
        num_queries=6,
        num_groups=3,
        decoder=dict(type=decoder, **DECODER),
    )
    return HEADS.build({**head, **arguments})


def feats(size: int = 64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(2, channels, size // stride, size // stride, generator=generator)
        for channels, stride in ((12, 8), (16, 16))
    ]


def test_training_has_all_groups_and_evaluation_the_first():
    head = build_head()
    trained, evaluated = head.train()(feats()), head.eval()(feats())
    assert trained.keys() == evaluated.keys()
    assert trained['cls_logits'].shape == (2, 2, 18, 5) and evaluated['cls_logits'].shape == (2, 2, 6, 5)
    for name in ('cls_logits', 'bbox_preds'):
        torch.testing.assert_close(trained[name][:, :, :6], evaluated[name])
        torch.testing.assert_close(trained[f'enc_{name}'][:, :6], evaluated[f'enc_{name}'])
    decoded = head.train().decode(trained)
    torch.testing.assert_close(decoded, head.eval().decode(evaluated))
    assert decoded['bboxes'].shape == (2, 6, 4)


def test_an_object_is_learnt_by_one_query_of_each_group():
    head = build_head().train()
    gt = make_gt([2, 0])
    preds = head(feats())
    matches = head.find_group_matches(preds['cls_logits'], preds['bbox_preds'], gt)
    assert matches.object_idx.tolist() == [0, 1] * 3 and matches.avg_factor == 6
    assert all((own.view(3, 2) // 6 == torch.arange(3).unsqueeze(1)).all() for own in matches.query_idx)


def test_before_training_boxes_are_those_of_cells():
    head = build_head().eval()
    preds = head(feats())
    torch.testing.assert_close(preds['bbox_preds'], preds['enc_bbox_preds'].expand_as(preds['bbox_preds']))
    centres, sides = preds['enc_bbox_preds'].split(2, dim=-1)
    assert set(sides.flatten().tolist()) <= {0.05000000074505806, 0.10000000149011612}
    assert ((centres * 16 - (centres * 16).round()).abs() < 1e-5).all()  # middles of cells


def test_fewer_cells_than_queries_are_all_selected():
    head = build_head(num_queries=30).train()
    preds = head(feats(32))  # 16 + 4 cells
    assert preds['cls_logits'].shape == (2, 2, 60, 5)
    losses = head.loss(preds, make_gt([2, 1]))
    sum(losses.values()).backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert torch.isfinite(head.decode(preds)['bboxes']).all() and head.decode(preds)['bboxes'].shape == (2, 20, 4)


@pytest.mark.parametrize('counts', [(0, 0), (2, 1)])
def test_every_parameter_learns(counts):
    head = build_head().train()
    losses = head.loss(head(feats()), make_gt(list(counts)))
    assert set(losses) == {'loss_cls', 'loss_box', 'loss_giou', 'loss_aux', 'loss_enc'}
    assert (sum(losses.values()) > 0) and (losses['loss_box'] > 0) == (counts != (0, 0))
    sum(losses.values()).backward()
    assert [name for name, param in head.named_parameters() if param.grad is None] == []


@pytest.mark.parametrize('decoder', ['LiteDecoder', 'DeformableDecoder'])
def test_masks_learn_on_any_decoder(decoder):
    head = build_head('RFDETRSegmentHead', decoder)
    gt = make_gt([2, 1])
    gt.masks = torch.rand(2, 2, 64, 64) > 0.5
    for training in (True, False):
        preds = head.train(training)(feats())
        losses = head.loss(preds, gt)
        assert losses['loss_mask'] > 0 and losses['loss_dice'] > 0
        decoded = head.decode(preds)
        assert decoded['mask_logits'].shape == (2, 6, 16, 16)
        head.zero_grad()
        sum(losses.values()).backward()
        added = {name for name, param in head.mask_decoder.named_parameters() if param.grad is not None}
        assert added == {name for name, _ in head.mask_decoder.named_parameters()}


def test_masks_of_an_index_map_are_those_of_a_mask_an_object():
    head = build_head('RFDETRSegmentHead').eval()
    gt = make_gt([2, 1])
    gt.masks = torch.zeros(2, 32, 32, dtype=torch.uint8)
    gt.masks[:, 2:9, 3:20], gt.masks[0, 15:30, 4:30] = 1, 2
    losses = []
    for masks in (gt.masks, torch.stack([gt.masks == 1, gt.masks == 2], 1)):
        torch.manual_seed(2)
        gt.masks = masks
        losses.append(head.loss(head(feats()), gt))
    torch.testing.assert_close(losses[0], losses[1])


def test_masks_without_ground_truth_are_refused():
    head = build_head('RFDETRSegmentHead').train()
    gt = make_gt([1, 0])
    gt.masks = None
    with pytest.raises(ValueError, match='RFDETRSegmentHead learns masks, but the batch has none'):
        head.loss(head(feats()), gt)


@pytest.mark.parametrize(
    'arguments, text',
    [
        (dict(num_groups=0), 'num_groups must be at least 1'),
        (dict(mask_stride=0, type='RFDETRSegmentHead'), 'mask_stride must be at least 1'),
        (dict(decoder=dict(type='LiteDecoder', num_layers=0)), 'LiteDecoder: num_layers must be at least 1'),
        (dict(decoder=dict(type='LiteDecoder', num_points=(2, 2, 2))), 'num_points has 3 numbers for 2 feature maps'),
        (dict(decoder=dict(type='LiteDecoder', embed_dims=6, num_heads=2, cross_heads=2)), 'a multiple of 4, found 6'),
    ],
)
def test_wrong_arguments_are_named(arguments, text):
    head = dict(type='RFDETRHead', num_classes=5, in_channels=(12, 16), strides=(8, 16))
    with pytest.raises(ConfigError, match=text):
        HEADS.build({**head, **arguments})


def test_changes_of_boxes_are_in_units_of_their_sides():
    bboxes = torch.tensor([[0.5, 0.4, 0.2, 0.1]])
    change = torch.tensor([[0.5, -1.0, 0.0, 1.0]])
    torch.testing.assert_close(change_boxes(bboxes, change), torch.tensor([[0.6, 0.3, 0.2, 0.1 * 2.718281828]]))


def test_sines_of_boxes_begin_with_y():
    sines = box_sines(torch.tensor([[0.25, 0.5, 0.0, 1.0]]), 4)
    assert sines.shape == (1, 16)
    torch.testing.assert_close(sines[0, [0, 1, 4, 5]], torch.tensor([0.0, -1.0, 1.0, 0.0]), atol=1e-6, rtol=0)


def test_the_loss_by_hand():
    logits = torch.tensor([[0.5, -1.0], [2.0, 0.0]], dtype=torch.float64)
    target = QualityTargets(torch.tensor([0, 3]), torch.tensor([0.6, 0.0]), torch.tensor([True, True]))
    p = logits.sigmoid()
    aims = torch.tensor([p[0, 0] ** 0.25 * 0.6**0.75, 0.01], dtype=torch.float64)
    matched = torch.stack([p[0, 0], p[1, 1]])
    expected = -(aims * matched.log() + (1 - aims) * (1 - matched).log()).sum()
    expected -= sum(q**2 * (1 - q).log() for q in (p[0, 1], p[1, 0]))
    torch.testing.assert_close(IoUAwareBCELoss(loss_weight=2.0)(logits, target, avg_factor=4.0), expected / 2)
    with pytest.raises(ValueError, match='trust must be in'):
        IoUAwareBCELoss(trust=2.0)


def test_fine_tuning_keeps_the_first_queries_of_each_group():
    old, new = build_head(), build_head(num_queries=4, num_groups=2)
    checkpoint = dict(meta=dict(classes=list('abcde')), state_dict=old.state_dict())
    report = load_weights(new, checkpoint, list('abcde'))
    assert not report.reinitialised and {name.split('.')[:2] == ['selections', '2'] for name in report.unused} == {True}
    with torch.no_grad():
        few, all_ = (head.eval()(feats()) for head in (new, old))
    assert torch.equal(few['enc_cls_logits'], all_['enc_cls_logits'][:, :4])
    for table in ('query_embed', 'bbox_embed'):
        rows, kept = (head.get_submodule(table).weight for head in (old, new))
        assert torch.equal(kept, torch.cat((rows[:4], rows[6:10])))
