"""Registered parts that the config tests name; they are never built."""

from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from torch import nn

from detkit.datasets import CocoDataset, YoloTxtDataset
from detkit.registry import ASSIGNERS, BACKBONES, DATASETS, DETECTORS, HEADS, LOSSES, METRICS, TRANSFORMS


@DETECTORS.register_module()
class ToyDetector(BaseModel):
    def __init__(self, backbone, neck=None, head=None, data_preprocessor=None):
        pass

    def forward(self, inputs, gt=None, data_samples=None, mode='tensor'):
        pass


class ToyPart(nn.Module):
    def forward(self, x, padding_mask=None):
        pass


class ToyParent(ToyPart):
    def __init__(self, init_cfg=None, *, in_channels, frozen=False):
        pass


@BACKBONES.register_module()
class ToyBackbone(ToyParent):
    def __init__(self, depth, width=1.0, **kwargs):
        super().__init__(in_channels=3, **kwargs)


@BACKBONES.register_module()
class ToyShallow(ToyPart):
    def __init__(self, in_channels=3):
        pass


class ToyAnyHead(ToyPart):
    def loss(self, preds, gt):
        pass

    def predict(self, preds, metas):
        pass


@HEADS.register_module()
class ToyOpenHead(ToyAnyHead):
    _accepts_any_kwargs = True

    def __init__(self, **options):
        pass


@HEADS.register_module()
class ToyHead(ToyAnyHead):
    def __init__(self, num_classes, in_channels, loss_cls=None, assigner=None):
        pass


@HEADS.register_module()
class ToyProposals(ToyAnyHead):
    def __init__(self, in_channels, loss_cls=None, assigner=None):
        pass


@LOSSES.register_module()
class ToyLoss:
    _accepts_any_kwargs = True

    def __init__(self, loss_weight=1.0, **options):
        pass


@ASSIGNERS.register_module()
class ToyAssigner:
    def __init__(self, topk=10):
        pass


@DATASETS.register_module()
class ToyDataset:
    def __init__(self, data_root, pipeline=(), metainfo=None, data_yaml=None, ann_file=None, single_class=False):
        pass

    @classmethod
    def peek(cls, cfg):
        return (CocoDataset if cfg.get('ann_file') else YoloTxtDataset).peek(cfg)


@TRANSFORMS.register_module()
class ToyFlip:
    def __init__(self, prob=0.5):
        pass

    def __call__(self, sample):
        return sample


@METRICS.register_module()
class ToyMetric(BaseMetric):
    def __init__(self, kind='bbox'):
        pass
