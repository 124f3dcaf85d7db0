"""YOLO26 classification on ImageNet (https://docs.ultralytics.com/models/yolo26).

Expected top-1 % on val (published there): n 71.4, s 76.0, m 78.1, l 79.0, x 79.9.
    python tools/train.py configs/yolo26/cls_imagenet.py --cfg-options size=n data_root=/data/imagenet
"""

_base_ = [
    '../_base_/models/yolo26_cls.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/yolo26_cls.py',
    '../_base_/default_runtime.py',
]
task = 'cls'
model = dict(head=dict(num_classes=1000))
