"""Registered parts that the config tests name; they are never built."""

from pathlib import Path

import pytest

from detkit.datasets import CocoDataset, YoloTxtDataset
from detkit.registry import ASSIGNERS, BACKBONES, DATASETS, DETECTORS, HEADS, LOSSES, METRICS, TRANSFORMS


@DETECTORS.register_module()
class ToyDetector:
    def __init__(self, backbone, neck=None, head=None, data_preprocessor=None):
        pass


class ToyParent:
    def __init__(self, init_cfg=None, *, in_channels, frozen=False):
        pass


@BACKBONES.register_module()
class ToyBackbone(ToyParent):
    def __init__(self, depth, width=1.0, **kwargs):
        super().__init__(in_channels=3, **kwargs)


@BACKBONES.register_module()
class ToyShallow:
    def __init__(self, in_channels=3):
        pass


@HEADS.register_module()
class ToyOpenHead:
    _accepts_any_kwargs = True

    def __init__(self, **options):
        pass


@HEADS.register_module()
class ToyHead:
    def __init__(self, num_classes, in_channels, loss_cls=None, assigner=None):
        pass


@HEADS.register_module()
class ToyProposals:
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


@METRICS.register_module()
class ToyMetric:
    def __init__(self, kind='bbox'):
        pass


BASE = """
data_root = 'data/toy'
batch_size = 4
train_pipeline = [dict(type='ToyFlip', prob=0.25)]
train_dataloader = dict(
    batch_size=batch_size,
    dataset=dict(
        type='ToyDataset',
        data_root=data_root + '/train',
        metainfo=dict(classes=('cat', 'dog')),
        pipeline=train_pipeline,
    ),
)
"""

CONFIG = """
_base_ = ['base.py']
log_level = 'INFO'
model = dict(
    type='ToyDetector',
    backbone=dict(type='ToyBackbone', depth=50),
    head=dict(
        type='ToyHead',
        loss_cls=dict(type='ToyLoss', gamma=2.0),
        assigner=dict(type='ToyAssigner'),
    ),
)
val_evaluator = dict(type='ToyMetric')
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A config file with one base, both of which a test may rewrite."""
    (tmp_path / 'base.py').write_text(BASE)
    path = tmp_path / 'toy.py'
    path.write_text(CONFIG)
    return path
