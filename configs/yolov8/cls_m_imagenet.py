"""YOLOv8m classification on ImageNet. No paper; described at https://docs.ultralytics.com/models/yolov8.

Expected on val: 76.8 % top-1 and 93.5 % top-5 (published there). Train with
    python tools/train.py configs/yolov8/cls_m_imagenet.py --cfg-options data_root=/data/imagenet
"""

_base_ = './cls_n_imagenet.py'

model = dict(backbone=dict(deepen_factor=0.67, widen_factor=0.75))
