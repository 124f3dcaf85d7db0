"""YOLO26 detection with a fourth level of stride 64, for large images."""

_base_ = './yolo26_det.py'

neck_channels = (256, 512, 768, 1024)
pooling_shortcut = False

model = dict(
    data_preprocessor=dict(size_divisor=64),
    backbone=dict(
        stage_channels=(256, 512, 512, 768, 1024),
        conv_channels=(128, 256, 512, 768, 1024),
        stage_blocks=(2, 2, 2, 2, 2),
        block=[
            dict(type='C3k2', expansion=0.25, inner=_base_.inner),
            dict(type='C3k2', expansion=0.25, inner=_base_.inner),
            dict(type='C3k2', inner='c3k'),
            dict(type='C3k2', inner='c3k'),
            dict(type='C3k2', inner='c3k'),
        ],
        out_indices=(2, 3, 4, 5),
    ),
)
