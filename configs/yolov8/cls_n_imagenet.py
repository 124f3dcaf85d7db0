"""YOLOv8n classification on ImageNet. No paper; described at https://docs.ultralytics.com/models/yolov8.

Expected on val: 69.0 % top-1 and 88.3 % top-5 (published there). Train with
    python tools/train.py configs/yolov8/cls_n_imagenet.py --cfg-options data_root=/data/imagenet
"""

_base_ = [
    '../_base_/models/yolov8_cls.py',
    '../_base_/datasets/imagenet_cls.py',
    '../_base_/schedules/yolov8_cls.py',
    '../_base_/default_runtime.py',
]

task = 'cls'

model = dict(head=dict(num_classes=1000))
