"""YOLO11 classification on ImageNet (https://docs.ultralytics.com/models/yolo11).

Expected top-1 % on val (published there): n 70.0, s 75.4, m 77.3, l 78.3, x 79.5.
    python tools/train.py configs/yolo11/cls_imagenet.py --cfg-options size=n data_root=/data/imagenet
"""

_base_ = [
    '../_base_/models/yolo11_cls.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/yolov8_cls.py',
    '../_base_/default_runtime.py',
]
task = 'cls'
model = dict(head=dict(num_classes=1000))
