"""COCO8: four training and four validation images of COCO. Made ready on the first run where it is missing.

The training images are repeated within an epoch, which would otherwise be a single iteration.
"""

_base_ = ['./coco_classes.py', './yolo_common.py']

data_root = 'data/coco8-seg'
batch_size = 4
val_batch_size = 4
repeat_times = 8
cache = 'ram'

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
            images='images/train',
            sample='coco8-seg',
            metainfo=dict(classes=_base_.classes),
            cache=cache,
            partners=_base_.partners,
            fraction=_base_.fraction,
            single_class=_base_.single_class,
            max_skipped=_base_.max_skipped,
            pipeline=_base_.train_pipeline,
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
        images='images/val',
        sample='coco8-seg',
        metainfo=dict(classes=_base_.classes),
        single_class=_base_.single_class,
        max_skipped=_base_.max_skipped,
        rect=True,
        test_mode=True,
        pipeline=_base_.val_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='CocoMetric', metric='bbox')
test_evaluator = val_evaluator
