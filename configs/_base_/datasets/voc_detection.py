"""PASCAL VOC 2007 and 2012 for detectors on a feature pyramid; see ``voc_files.py``, also for own data."""

_base_ = ['./fpn_pipelines.py', './voc_files.py']

val_evaluator = [dict(type='CocoMetric', metric='bbox'), dict(type='VOCMetric')]
test_evaluator = [dict(type='CocoMetric', metric='bbox'), dict(type='VOCMetric', submission_dir=None)]
