"""COCO 2017 (https://cocodataset.org) for DETR: labels are category ids, 91 classes with those never used.

For your own JSON files: ``--cfg-options data_root=/data/mine train_ann=train.json train_images=train
val_ann=val.json val_images=val keep_category_ids=False classes=None``; the class names are then those of the files.
"""

from detkit.datasets.class_names import COCO91

_base_ = './detr_pipelines.py'

data_root = 'data/coco'
train_ann = 'annotations/instances_train2017.json'
train_images = 'train2017'
val_ann = 'annotations/instances_val2017.json'
val_images = 'val2017'
keep_category_ids = True
classes = COCO91
single_class = False

train_dataloader = dict(
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        ann_file=train_ann,
        img_prefix=train_images,
        keep_category_ids=keep_category_ids,
        metainfo=dict(classes=classes),
        single_class=single_class,
    )
)
val_dataloader = dict(
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        ann_file=val_ann if _base_.split is None else train_ann,
        img_prefix=val_images if _base_.split is None else train_images,
        keep_category_ids=keep_category_ids,
        metainfo=dict(classes=classes),
        single_class=single_class,
    )
)
test_dataloader = val_dataloader
