"""PASCAL VOC 2007 and 2012 (https://host.robots.ox.ac.uk/pascal/VOC) in their own layout, unpacked side by side:

    data/VOCdevkit/VOC2007/{Annotations,ImageSets,JPEGImages}
    data/VOCdevkit/VOC2012/{Annotations,ImageSets,JPEGImages}

16,551 training images (trainval of both) and 4,952 to test on (test of 2007). For data of your own in this layout:
``--cfg-options data_root=/data/mine train_splits=train val_splits=val classes="['bolt', 'nut']"``.
"""

_base_ = ['./voc_classes.py', './yolo_common.py']

data_root = 'data/VOCdevkit'
train_splits = ['VOC2007/trainval', 'VOC2012/trainval']
val_splits = ['VOC2007/test']
batch_size = 16
val_batch_size = 32
num_workers = 8

train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    sampler=dict(type='EpochSampler', shuffle=True),
    dataset=dict(
        type='VOCDataset',
        data_root=data_root,
        splits=train_splits,
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
    num_workers=num_workers,
    sampler=dict(type='EpochSampler', shuffle=False),
    dataset=dict(
        type='VOCDataset',
        data_root=data_root,
        splits=val_splits,
        metainfo=dict(classes=_base_.classes),
        single_class=_base_.single_class,
        max_skipped=_base_.max_skipped,
        rect=True,
        test_mode=True,
        pipeline=_base_.val_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = [dict(type='CocoMetric', metric='bbox'), dict(type='VOCMetric')]
test_evaluator = [dict(type='CocoMetric', metric='bbox'), dict(type='VOCMetric', submission_dir=None)]
