"""A part that does not keep its contract is named, before any weight changes."""

import pytest
import torch
from torch import nn

from detkit.config.locate import located
from detkit.models.coders import DistancePointBBoxCoder
from detkit.models.heads import YOLOv8Head
from detkit.models.losses import IoULoss
from detkit.protocols import BinaryClassLoss, BoxLoss, DistanceCoder
from detkit.registry import BACKBONES, CODERS, DETECTORS, HEADS, LAYERS, LOSSES, NECKS
from detkit.structures.gt_batch import GtBatch
from detkit.utils.errors import ConfigError


@BACKBONES.register_module()
class OddBackbone(nn.Module):
    """One map of 4 channels, declared and returned as a test says."""

    def __init__(self, out_channels=(4,), bare=False):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 8, 1)
        self.out_channels, self.out_strides, self.bare = tuple(out_channels), (8,), bare

    def forward(self, x):
        return self.conv(x) if self.bare else (self.conv(x),)


@NECKS.register_module()
class OddNeck(nn.Module):
    """Says that it doubles the channels, and does not."""

    def __init__(self, in_channels):
        super().__init__()
        self.out_channels = tuple(2 * width for width in in_channels)

    def forward(self, feats):
        return feats


@LOSSES.register_module()
class VectorLoss(nn.Module, BoxLoss):
    """Forgets the sum."""

    def forward(self, pred, target, weight=None, avg_factor=None):
        return (pred - target).abs().sum(-1)


@LOSSES.register_module()
class VectorOverlapLoss(IoULoss):
    """Forgets the sum where the overlaps are known."""

    def from_overlaps(self, overlaps, weight=None, avg_factor=None):
        return 1 - overlaps

    def forward(self, pred, target, weight=None, avg_factor=None):
        return (1 - self.overlaps(pred, target)).sum()


@LOSSES.register_module()
class NumberLoss(nn.Module, BinaryClassLoss):
    """Returns a number, which has no gradient."""

    def forward(self, pred, target, weight=None, avg_factor=None):
        return 0.5


@LOSSES.register_module()
class DenseLoss(nn.Module, BinaryClassLoss):
    """Takes targets for targets of each logit."""

    def forward(self, pred, target, weight=None, avg_factor=None):
        return nn.functional.binary_cross_entropy_with_logits(pred, target)


@LOSSES.register_module()
class UnweightedLoss(nn.Module, BoxLoss):
    """Takes no weight."""

    def forward(self, pred, target):
        return (pred - target).abs().sum()


@CODERS.register_module()
class OwnCoder(DistanceCoder):
    """Has the methods of its protocol, and as many bins as a test says: for None it does not say how many."""

    def __init__(self, bins=None):
        if bins is not None:
            self.reg_max = bins
        self.inner = DistancePointBBoxCoder(reg_max=bins or 1)

    def encode(self, points, bboxes, strides=1.0):
        return self.inner.encode(points, bboxes, strides)

    def decode(self, points, distances, strides=1.0):
        return self.inner.decode(points, distances, strides)

    def mean_distances(self, bbox_preds):
        return self.inner.mean_distances(bbox_preds)


@HEADS.register_module()
class VectorHead(YOLOv8Head):
    """Returns a loss of its own, not summed up."""

    def loss(self, preds, gt):
        return dict(loss_cls=preds['cls_logits'][0].flatten())


def run(**parts):
    cfg = dict(
        type='SingleStageDetector', backbone=dict(type='OddBackbone'), head=dict(type='YOLOv8Head', num_classes=2)
    )
    model = DETECTORS.build({**cfg, **parts})
    gt = GtBatch(
        labels=torch.zeros(1, 1, dtype=torch.int64),
        bboxes=torch.tensor([[[4.0, 4.0, 40.0, 40.0]]]),
        valid=torch.ones(1, 1, dtype=torch.bool),
        flat_index=torch.zeros(1, dtype=torch.int64),
        img_shapes=torch.tensor([[64, 64]]),
    )
    return model(torch.rand(1, 3, 64, 64), gt, mode='loss')


def test_parts_that_keep_their_contracts_train():
    assert all(loss.ndim == 0 for loss in run().values())


@pytest.mark.parametrize(
    ('parts', 'message'),
    [
        (dict(backbone=dict(type='OddBackbone', bare=True)), "backbone 'OddBackbone' returns a Tensor; .* a tuple"),
        (
            dict(backbone=dict(type='OddBackbone', out_channels=(6,))),
            r"backbone 'OddBackbone' says out_channels = \(6,\), but returns maps of \(4,\)",
        ),
        (dict(neck=dict(type='OddNeck')), r"neck 'OddNeck' says out_channels = \(8,\), but returns maps of \(4,\)"),
        (
            dict(head=dict(type='VectorHead', num_classes=2)),
            "head 'VectorHead': loss_cls has the shape .* but a loss is one number",
        ),
    ],
)
def test_the_part_is_named(parts, message):
    with pytest.raises(ConfigError, match=message):
        run(**parts)


@pytest.mark.parametrize(
    ('head', 'key', 'loss', 'message'),
    [
        ('YOLOv8Head', 'loss_bbox', 'VectorLoss', r'returns a tensor of shape \(2,\) instead of a scalar'),
        ('YOLOv5Head', 'loss_bbox', 'VectorOverlapLoss', r'returns a tensor of shape \(2,\) instead of a scalar'),
        ('YOLOv3Head', 'loss_obj', 'NumberLoss', 'returns a float instead of a scalar tensor'),
        (
            'YOLOv8Head',
            'loss_cls',
            'DenseLoss',
            r'fails: .* not dense, but SparseTargets\(flat_index, values\)',
        ),
        ('YOLOv8PoseHead', 'loss_bbox', 'UnweightedLoss', 'fails: TypeError: .*weight'),
    ],
)
def test_a_loss_is_tried_when_its_head_is_built(head, key, loss, message):
    anchors = {} if head.startswith('YOLOv8') else dict(anchors=[[(8, 8)]])
    model = dict(
        type='SingleStageDetector',
        backbone=dict(type='OddBackbone'),
        head=dict(type=head, num_classes=2, **{key: dict(type=loss)}, **anchors),
    )
    with (
        pytest.raises(ConfigError, match=f'model.head.{key}: {head}.{key}: {loss}, called as .* {message}'),
        located(dict(model=model)),
    ):
        DETECTORS.build(model)


@pytest.mark.parametrize(('head', 'bins'), [('FCOSHead', 1), ('FCOSHead', 8), ('YOLOv8Head', 8)])
def test_a_coder_says_how_many_bins_it_has(head, bins):
    own = dict(type=head, num_classes=2, **dict(reg_max=bins) if head == 'YOLOv8Head' else {})
    losses = run(head={**own, 'bbox_coder': dict(type='OwnCoder', bins=bins)})
    assert all(loss.isfinite() for loss in losses.values())
    message = f'{head}.bbox_coder: OwnCoder has no attribute reg_max, which every DistanceCoder has'
    with pytest.raises(ConfigError, match=message):
        run(head={**own, 'bbox_coder': dict(type='OwnCoder')})


def test_the_bins_of_a_coder_are_those_of_the_head():
    with pytest.raises(ConfigError, match="bbox_coder.reg_max is 8, but must be the head's reg_max, 16"):
        run(head=dict(type='YOLOv8Head', num_classes=2, bbox_coder=dict(type='OwnCoder', bins=8)))


@pytest.mark.parametrize(
    ('key', 'part', 'missing'),
    [('transformer', 'DETRTransformer', 'num_heads'), ('position_encoding', 'SinePositionEncoding', 'embed_dims')],
)
def test_a_part_has_the_attributes_of_its_protocol(monkeypatch, key, part, missing):
    cls = LAYERS.get(part)
    before = cls.__init__

    def without(self, *args, **kwargs):
        before(self, *args, **kwargs)
        delattr(self, missing)

    monkeypatch.setattr(cls, '__init__', without)
    with pytest.raises(ConfigError, match=rf'DETRHead\.{key}: {part} has no attribute {missing}, .*set it in __init__'):
        HEADS.build(dict(type='DETRHead', num_classes=2, in_channels=(4,)))
