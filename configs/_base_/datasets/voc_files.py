"""PASCAL VOC 2007 and 2012 (https://host.robots.ox.ac.uk/pascal/VOC) in their own layout, unpacked side by side:

    data/VOCdevkit/VOC2007/{Annotations,ImageSets,JPEGImages}
    data/VOCdevkit/VOC2012/{Annotations,ImageSets,JPEGImages}

16,551 training images (trainval of both) and 4,952 to test on (test of 2007), without transforms. For your own data in
this layout: ``--cfg-options data_root=/data/mine train_splits=train val_splits=val classes="['bolt', 'nut']"``.
"""

from detkit.datasets.class_names import VOC20

split = None
data_root = 'data/VOCdevkit'
train_splits = ['VOC2007/trainval', 'VOC2012/trainval']
val_splits = ['VOC2007/test']
classes = VOC20

_train_set = dict(type='VOCDataset', data_root=data_root, splits=train_splits, metainfo=dict(classes=classes))
train_dataloader = dict(dataset=_train_set)
val_dataloader = dict(dataset=dict(_train_set, splits=val_splits if split is None else train_splits))
test_dataloader = val_dataloader
