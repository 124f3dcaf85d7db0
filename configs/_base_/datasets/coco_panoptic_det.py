"""COCO 2017 panoptic (https://cocodataset.org): the boxes of 80 things and of 53 kinds of stuff."""

_base_ = ['./coco_panoptic_classes.py', './detr_common.py']

data_root = 'data/coco'
train_ann = 'annotations/panoptic_train2017.json'
train_images = 'train2017'
val_ann = 'annotations/panoptic_val2017.json'
val_images = 'val2017'
batch_size = 2
val_batch_size = 2
num_workers = 4
metainfo = dict(classes=_base_.classes, stuff_labels=_base_.stuff_labels)

train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    drop_last=True,
    sampler=dict(type='EpochSampler', shuffle=True),
    dataset=dict(
        type='CocoPanopticDataset',
        data_root=data_root,
        ann_file=train_ann,
        img_prefix=train_images,
        keep_category_ids=True,
        metainfo=metainfo,
        cache=_base_.cache,
        fraction=_base_.fraction,
        max_skipped=_base_.max_skipped,
        pipeline=_base_.train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=val_batch_size,
    num_workers=num_workers,
    sampler=dict(type='EpochSampler', shuffle=False),
    dataset=dict(
        type='CocoPanopticDataset',
        data_root=data_root,
        ann_file=val_ann,
        img_prefix=val_images,
        keep_category_ids=True,
        metainfo=metainfo,
        max_skipped=_base_.max_skipped,
        rect=True,  # images of one shape together, so that less is padded
        test_mode=True,
        pipeline=_base_.val_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='CocoMetric', metric='bbox')
test_evaluator = val_evaluator
