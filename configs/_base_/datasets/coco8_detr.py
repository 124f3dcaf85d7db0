"""COCO8's four training images for DETR, to be learnt by heart: validation reads the same four.

The images are repeated within an epoch, which would otherwise be a single iteration. They are downloaded or drawn on
the first run where they are missing.
"""

from detkit.datasets.class_names import COCO80

_base_ = './detr_pipelines.py'

data_root = 'data/coco8-seg'
train_images = 'images/train'
val_images = 'images/train'
classes = COCO80
single_class = False
img_size = 256
flip_prob = 0.0
short_sides = img_size
batch_size = 4
val_batch_size = 4
cache = 'ram'
repeat_times = 8

train_pipeline = [
    *_base_.load,
    dict(type='RandomFlip', prob=flip_prob),
    _base_.resize,
    _base_.render,
    dict(type='PackInputs'),
]
val_pipeline = [*_base_.load, _base_.resize, dict(type='Render'), dict(type='PackInputs')]

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
            single_class=single_class,
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
        single_class=single_class,
        rect=False,
    )
)
test_dataloader = val_dataloader
