"""COCO 2017 (https://cocodataset.org) in its own layout, without transforms: 118,287 training, 5,000 validation images.

For your own JSON files: ``--cfg-options data_root=/data/mine train_ann=train.json train_images=train
val_ann=val.json val_images=val classes=None``; the class names are then those of the files.
"""

from detkit.datasets.class_names import COCO80

split = None
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
        ann_file=val_ann if split is None else train_ann,
        img_prefix=val_images if split is None else train_images,
        metainfo=dict(classes=classes),
    )
)
test_dataloader = val_dataloader
