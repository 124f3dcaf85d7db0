"""A part that does not keep its contract is named, before any weight changes."""

import pytest
import torch
from torch import nn

import detkit.models  # noqa: F401 - registers the components
from detkit.protocols import BoxLoss
from detkit.registry import BACKBONES, DETECTORS, LOSSES, NECKS
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
            dict(head=dict(type='YOLOv8Head', num_classes=2, loss_bbox=dict(type='VectorLoss'))),
            "head 'YOLOv8Head': loss_box has the shape .* but a loss is one number",
        ),
    ],
)
def test_the_part_is_named(parts, message):
    with pytest.raises(ConfigError, match=message):
        run(**parts)
