"""YOLOv8m instance segmentation on COCO8, eight images for trying things out; no published figure.

No paper; described at https://docs.ultralytics.com/models/yolov8. Train with
    python tools/train.py configs/yolov8/seg_m_coco8.py
"""

_base_ = './seg_n_coco8.py'

model = dict(
    backbone=dict(deepen_factor=0.67, widen_factor=0.75, max_channels=768),
    neck=[dict(type='SPP'), dict(type='PAN', deepen_factor=0.67)],
)
