"""PASCAL VOC 2007 and 2012 for the YOLO families; see ``voc_files.py``, also for your own data in this layout."""

_base_ = ['./yolo_pipelines.py', './voc_files.py']

val_batch_size = 32

val_evaluator = [dict(type='CocoMetric', metric='bbox'), dict(type='VOCMetric')]
test_evaluator = [dict(type='CocoMetric', metric='bbox'), dict(type='VOCMetric', submission_dir=None)]
