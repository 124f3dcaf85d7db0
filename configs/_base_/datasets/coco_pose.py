"""COCO 2017 keypoints (https://cocodataset.org): images that show a person with labelled keypoints.

These are 56,599 training and 2,346 validation images; names, pairs and skeleton are read from the files.
"""

_base_ = ['./coco_keypoints.py', './yolo_common.py']

data_root = 'data/coco'
train_ann = 'annotations/person_keypoints_train2017.json'
train_images = 'train2017'
val_ann = 'annotations/person_keypoints_val2017.json'
val_images = 'val2017'
batch_size = 16
val_batch_size = 32
num_workers = 8

train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    sampler=dict(type='EpochSampler', shuffle=True),
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        ann_file=train_ann,
        img_prefix=train_images,
        keypoints=True,
        only_labelled=True,
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
        type='CocoDataset',
        data_root=data_root,
        ann_file=val_ann,
        img_prefix=val_images,
        keypoints=True,
        only_labelled=True,
        metainfo=dict(classes=_base_.classes),
        single_class=_base_.single_class,
        max_skipped=_base_.max_skipped,
        rect=True,
        test_mode=True,
        pipeline=_base_.val_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='CocoMetric', metric=['bbox', 'keypoints'])
test_evaluator = val_evaluator
