"""COCO128: the first 128 images of COCO train2017; as usual it is validated on the images it is trained on.

The folder is that of the public archive https://github.com/ultralytics/assets/releases/download/v0.0.0/coco128.zip,
unpacked into ``data/``.
"""

_base_ = ['./coco_classes.py', './yolo_common.py']

data_root = 'data/coco128'
batch_size = 16
val_batch_size = 16

train_dataloader = dict(
    batch_size=batch_size,
    num_workers=_base_.num_workers,
    sampler=dict(type='EpochSampler', shuffle=True),
    dataset=dict(
        type='YoloTxtDataset',
        data_root=data_root,
        images='images/train2017',
        metainfo=dict(classes=_base_.classes),
        cache=_base_.cache,
        partners=_base_.partners,
        fraction=_base_.fraction,
        single_class=_base_.single_class,
        max_skipped=_base_.max_skipped,
        pipeline=_base_.train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=val_batch_size,
    num_workers=_base_.num_workers,
    sampler=dict(type='EpochSampler', shuffle=False),
    dataset=dict(
        type='YoloTxtDataset',
        data_root=data_root,
        images='images/train2017',
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
