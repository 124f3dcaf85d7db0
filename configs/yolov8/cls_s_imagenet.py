"""YOLOv8s classification on ImageNet. No paper; described at https://docs.ultralytics.com/models/yolov8.

Expected on val: 73.8 % top-1 and 91.7 % top-5 (published there). Train with
    python tools/train.py configs/yolov8/cls_s_imagenet.py --cfg-options data_root=/data/imagenet
"""

_base_ = './cls_n_imagenet.py'

model = dict(backbone=dict(deepen_factor=0.33, widen_factor=0.5))
