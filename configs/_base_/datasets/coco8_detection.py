"""COCO8's four training images for detectors on a feature pyramid; validation reads the same four.

The images are repeated within an epoch, which would otherwise be a single iteration. They are downloaded or drawn on
the first run where they are missing.
"""

from detkit.datasets.class_names import COCO80

_base_ = './fpn_pipelines.py'

data_root = 'data/coco8-seg'
train_images = 'images/train'
val_images = 'images/train'
classes = COCO80
img_size = 256
flip_prob = 0.0
batch_size = 4
val_batch_size = 4
cache = 'ram'
repeat_times = 8

train_dataloader = dict(
    drop_last=False,
    dataset=dict(
        _delete_=True,
        type='RepeatDataset',
        times=repeat_times,
        dataset=dict(
            type='YoloTxtDataset',
            data_root=data_root,
            images=train_images,
            sample='coco8-seg',
            metainfo=dict(classes=classes),
            **_base_.train_dataloader.dataset,
        ),
    ),
)
val_dataloader = dict(
    dataset=dict(
        type='YoloTxtDataset',
        data_root=data_root,
        images=val_images if _base_.split is None else train_images,
        sample='coco8-seg',
        metainfo=dict(classes=classes),
        rect=False,
    )
)
test_dataloader = val_dataloader
