"""PASCAL VOC 2007 and 2012 for detectors on a feature pyramid; see ``voc.py``, also for own data."""

from detkit.datasets.class_names import VOC20

_base_ = './fpn_pipelines.py'

data_root = 'data/VOCdevkit'
train_splits = ['VOC2007/trainval', 'VOC2012/trainval']
val_splits = ['VOC2007/test']
classes = VOC20

_train_set = dict(type='VOCDataset', data_root=data_root, splits=train_splits, metainfo=dict(classes=classes))
train_dataloader = dict(dataset=_train_set)
val_dataloader = dict(dataset=dict(_train_set, splits=val_splits if _base_.split is None else train_splits))
test_dataloader = val_dataloader

val_evaluator = [dict(type='CocoMetric', metric='bbox'), dict(type='VOCMetric')]
test_evaluator = [dict(type='CocoMetric', metric='bbox'), dict(type='VOCMetric', submission_dir=None)]
