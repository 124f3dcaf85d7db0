"""A dataset of your own with rotated boxes, four corners a line. See ``data_yaml_det.py``."""

_base_ = './data_yaml_det.py'

train_dataloader = dict(dataset=dict(labels='obb'))
val_dataloader = dict(dataset=dict(labels='obb'))
test_dataloader = val_dataloader

val_evaluator = dict(_delete_=True, type='DOTAMetric')
test_evaluator = val_evaluator
