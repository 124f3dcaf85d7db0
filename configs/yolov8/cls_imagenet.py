"""YOLOv8 classification on ImageNet (https://docs.ultralytics.com/models/yolov8).

Expected top-1/top-5 % on val (published there): n 69.0/88.3, s 73.8/91.7, m 76.8/93.5, l 78.3/94.2, x 79.0/94.6.
    python tools/train.py configs/yolov8/cls_imagenet.py --cfg-options size=n data_root=/data/imagenet
"""

_base_ = [
    '../_base_/models/yolov8_cls.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/yolov8_cls.py',
    '../_base_/default_runtime.py',
]
task = 'cls'
model = dict(head=dict(num_classes=1000))
