"""A dataset of your own with keypoints; its data yaml has ``kpt_shape`` and ``flip_idx``. See ``data_yaml_det.py``."""

_base_ = './data_yaml_det.py'

train_dataloader = dict(dataset=dict(labels='pose'))
val_dataloader = dict(dataset=dict(labels='pose'))
test_dataloader = val_dataloader

val_evaluator = dict(metric=['bbox', 'keypoints'])
test_evaluator = val_evaluator
