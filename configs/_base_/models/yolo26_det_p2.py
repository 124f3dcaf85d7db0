"""YOLO26 detection with a fourth level of stride 4, for small objects."""

_base_ = './yolo26_det.py'

neck_channels = (128, 256, 512, 1024)

model = dict(backbone=dict(out_indices=(1, 2, 3, 4)))
