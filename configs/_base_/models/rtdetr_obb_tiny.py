"""A small RT-DETR for rotated boxes that learns from scratch: ResNet-18, a narrow encoder and decoder."""

_base_ = './rtdetr_obb.py'

size = 'r18'
multi_scale = None

model = dict(
    neck=dict(out_channels=128, feedforward_dims=256),
    head=dict(
        num_queries=100,
        num_denoising=100,
        decoder=dict(embed_dims=128, num_heads=4, feedforward_dims=256),
    ),
)
