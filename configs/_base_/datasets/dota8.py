"""DOTA8: objects seen from above, with rotated boxes, downloaded or drawn on the first run where they are missing.

The public set has four training and four validation images, the drawn one 32 and 8, as a network that starts from
nothing cannot learn angles from four. Few images are repeated, so that an epoch has 32 samples either way.
"""

from detkit.datasets.class_names import DOTA15

_base_ = './yolo_pipelines.py'

task = 'obb'
data_root = 'data/dota8'
classes = DOTA15
batch_size = 4
val_batch_size = 4
cache = 'ram'
epoch_samples = 32

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='RepeatDataset',
        at_least=epoch_samples,
        dataset=dict(
            type='YoloTxtDataset',
            data_root=data_root,
            images='images/train',
            labels='obb',
            sample='dota8',
            metainfo=dict(classes=classes),
            **_base_.train_dataloader.dataset,
        ),
    )
)
val_dataloader = dict(
    dataset=dict(
        type='YoloTxtDataset',
        data_root=data_root,
        images='images/val' if _base_.split is None else 'images/train',
        labels='obb',
        sample='dota8',
        metainfo=dict(classes=classes),
    )
)
test_dataloader = val_dataloader

test_evaluator = dict(submission_dir=None)
