"""YOLOv8s instance segmentation on COCO8, eight images for trying things out; no published figure.

No paper; described at https://docs.ultralytics.com/models/yolov8. Train with
    python tools/train.py configs/yolov8/seg_s_coco8.py
"""

_base_ = './seg_n_coco8.py'

model = dict(
    backbone=dict(deepen_factor=0.33, widen_factor=0.5, max_channels=1024),
    neck=[dict(type='SPP'), dict(type='PAN', deepen_factor=0.33)],
)
