"""COCO8: four training and four validation images of COCO, downloaded or drawn on the first run where they are missing.

The training images are repeated within an epoch, which would otherwise be a single iteration. The downloaded set's
validation images say nothing of a model trained from scratch on the other four: test it on those, ``--split train``.
"""

from detkit.datasets.class_names import COCO80

_base_ = './yolo_pipelines.py'

data_root = 'data/coco8-seg'
classes = COCO80
batch_size = 4
val_batch_size = 4
cache = 'ram'
repeat_times = 8

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='RepeatDataset',
        times=repeat_times,
        dataset=dict(
            type='YoloTxtDataset',
            data_root=data_root,
            images='images/train',
            sample='coco8-seg',
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
        sample='coco8-seg',
        metainfo=dict(classes=classes),
    )
)
test_dataloader = val_dataloader
