"""YOLOv8n classification of an image folder of your own; no published figure.

No paper; described at https://docs.ultralytics.com/models/yolov8. Train with
    python tools/train.py configs/yolov8/cls_n_custom.py --cfg-options data_root=path/to/folder
"""

_base_ = [
    '../_base_/models/yolov8_cls.py',
    '../_base_/datasets/folder_cls.py',
    '../_base_/schedules/yolov8_cls.py',
    '../_base_/default_runtime.py',
]

task = 'cls'
