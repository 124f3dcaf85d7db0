"""COCO 2017 panoptic (https://cocodataset.org): every pixel belongs to one of 80 things or of 53 kinds of stuff.

The PNGs are in the folders of their archives, beside the JSON: annotations/panoptic_val2017/000000000139.png. The task
'det' takes the boxes of things and stuff alone.
"""

from detkit.datasets.class_names import COCO_PANOPTIC, COCO_STUFF

_base_ = './detr_pipelines.py'

data_root = 'data/coco'
train_ann = 'annotations/panoptic_train2017.json'
train_images = 'train2017'
val_ann = 'annotations/panoptic_val2017.json'
val_images = 'val2017'
classes = COCO_PANOPTIC
stuff_labels = tuple(COCO_STUFF)
metainfo = dict(classes=classes, stuff_labels=stuff_labels)
load = [dict(type='LoadImageFromFile')]
if _base_.task == 'panoptic':
    load = [*load, dict(type='LoadSegments')]

train_dataloader = dict(
    dataset=dict(
        type='CocoPanopticDataset',
        data_root=data_root,
        ann_file=train_ann,
        img_prefix=train_images,
        keep_category_ids=True,
        metainfo=metainfo,
    )
)
val_dataloader = dict(
    dataset=dict(
        type='CocoPanopticDataset',
        data_root=data_root,
        ann_file=val_ann if _base_.split is None else train_ann,
        img_prefix=val_images if _base_.split is None else train_images,
        keep_category_ids=True,
        metainfo=metainfo,
    )
)
test_dataloader = val_dataloader
