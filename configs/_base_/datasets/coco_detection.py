"""COCO 2017 (https://cocodataset.org) for detectors on a feature pyramid, with its 80 classes.

With ``task = 'seg'`` the outlines are read too. For your own JSON files: ``--cfg-options data_root=/data/mine
train_ann=train.json train_images=train val_ann=val.json val_images=val classes=None``.
"""

from detkit.datasets.class_names import COCO80

_base_ = './fpn_pipelines.py'

data_root = 'data/coco'
train_ann = 'annotations/instances_train2017.json'
train_images = 'train2017'
val_ann = 'annotations/instances_val2017.json'
val_images = 'val2017'
classes = COCO80

train_dataloader = dict(
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        ann_file=train_ann,
        img_prefix=train_images,
        metainfo=dict(classes=classes),
    )
)
val_dataloader = dict(
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        ann_file=val_ann if _base_.split is None else train_ann,
        img_prefix=val_images if _base_.split is None else train_images,
        metainfo=dict(classes=classes),
    )
)
test_dataloader = val_dataloader
