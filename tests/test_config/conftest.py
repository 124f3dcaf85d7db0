"""A config of registered parts that are never built."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope='session')
def _toy_parts() -> None:
    """Register them, which imports torch: the process that only starts others does not need them."""
    import toy_parts  # noqa: F401


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
