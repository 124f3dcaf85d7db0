"""YOLOv8x classification on ImageNet. No paper; described at https://docs.ultralytics.com/models/yolov8.

Expected on val: 79.0 % top-1 and 94.6 % top-5 (published there). Train with
    python tools/train.py configs/yolov8/cls_x_imagenet.py --cfg-options data_root=/data/imagenet
"""

_base_ = './cls_n_imagenet.py'

model = dict(backbone=dict(deepen_factor=1.0, widen_factor=1.25))
