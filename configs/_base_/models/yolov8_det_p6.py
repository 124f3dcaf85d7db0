"""YOLOv8 detection with a fourth level of stride 64, for large images."""

_base_ = './yolov8_det.py'

model = dict(
    data_preprocessor=dict(size_divisor=64),
    backbone=dict(
        stage_channels=(128, 256, 512, 768, 1024),
        stage_blocks=(3, 6, 6, 3, 3),
        out_indices=(2, 3, 4, 5),
    ),
    neck=[dict(type='SPP'), dict(type='PAN', deepen_factor=_base_.deepen_factor, block=dict(type='C2'))],
)
