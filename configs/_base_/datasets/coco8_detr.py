"""COCO8's four training images as DETR takes them, to be learnt by heart: validation looks at the same four.

The images are repeated within an epoch, which would otherwise be a single iteration. Made ready on the first run where
they are missing.
"""

_base_ = ['./coco_classes.py', './detr_common.py']

data_root = 'data/coco8-seg'
img_size = 256
flip_prob = 0.0
train_images = 'images/train'
val_images = 'images/train'
batch_size = 4
val_batch_size = 4
repeat_times = 8
cache = 'ram'

val_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeShortestEdge', size=img_size, max_size=img_size * 5 // 3),
    dict(type='Render'),
    dict(type='PackInputs'),
]
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomFlip', prob=flip_prob),
    *val_pipeline[1:2],
    _base_.render,
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=batch_size,
    num_workers=_base_.num_workers,
    sampler=dict(type='EpochSampler', shuffle=True),
    dataset=dict(
        type='RepeatDataset',
        times=repeat_times,
        dataset=dict(
            type='YoloTxtDataset',
            data_root=data_root,
            images=train_images,
            sample='coco8-seg',
            metainfo=dict(classes=_base_.classes),
            cache=cache,
            fraction=_base_.fraction,
            single_class=_base_.single_class,
            max_skipped=_base_.max_skipped,
            pipeline=train_pipeline,
        ),
    ),
)
val_dataloader = dict(
    batch_size=val_batch_size,
    num_workers=_base_.num_workers,
    sampler=dict(type='EpochSampler', shuffle=False),
    dataset=dict(
        type='YoloTxtDataset',
        data_root=data_root,
        images=val_images,
        sample='coco8-seg',
        metainfo=dict(classes=_base_.classes),
        single_class=_base_.single_class,
        max_skipped=_base_.max_skipped,
        test_mode=True,
        pipeline=val_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='CocoMetric', metric='bbox')
test_evaluator = val_evaluator
