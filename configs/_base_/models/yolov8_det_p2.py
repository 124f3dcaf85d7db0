"""YOLOv8 detection with a fourth level of stride 4, for small objects."""

_base_ = './yolov8_det.py'

model = dict(backbone=dict(out_indices=(1, 2, 3, 4)))
