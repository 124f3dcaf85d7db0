"""COCO 2017 (https://cocodataset.org) as DETR takes it: labels are category ids, 91 classes with those never used."""

_base_ = ['./coco_classes_91.py', './detr_common.py']

data_root = 'data/coco'
train_ann = 'annotations/instances_train2017.json'
train_images = 'train2017'
val_ann = 'annotations/instances_val2017.json'
val_images = 'val2017'
batch_size = 2
val_batch_size = 2
num_workers = 4

train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    drop_last=True,
    sampler=dict(type='EpochSampler', shuffle=True),
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        ann_file=train_ann,
        img_prefix=train_images,
        keep_category_ids=True,
        metainfo=dict(classes=_base_.classes),
        cache=_base_.cache,
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
        keep_category_ids=True,
        metainfo=dict(classes=_base_.classes),
        single_class=_base_.single_class,
        max_skipped=_base_.max_skipped,
        rect=True,  # images of one shape together, so that less is padded
        test_mode=True,
        pipeline=_base_.val_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='CocoMetric', metric='bbox')
test_evaluator = val_evaluator
