"""COCO 2017 for the YOLO families; see ``coco_files.py``, also for your own JSON files."""

_base_ = ['./yolo_pipelines.py', './coco_files.py']

val_batch_size = 32
