"""A small RT-DETR that learns from scratch: ResNet-18, a narrow encoder and decoder, few queries."""

_base_ = './rtdetr.py'

size = 'r18'
multi_scale = None

model = dict(
    neck=dict(out_channels=128, feedforward_dims=256),
    head=dict(
        num_queries=60,
        num_denoising=40,
        decoder=dict(embed_dims=128, num_heads=4, feedforward_dims=256),
    ),
)
