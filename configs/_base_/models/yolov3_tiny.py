"""YOLOv3-tiny: pooled 3x3 convolutions, and two levels."""

_base_ = './yolov3.py'

model = dict(
    backbone=dict(depth='tiny'),
    neck=dict(out_channels=(256, 512), num_convs=(0, 1)),
    head=dict(anchors=[[(10, 14), (23, 27), (37, 58)], [(81, 82), (135, 169), (344, 319)]]),
)
