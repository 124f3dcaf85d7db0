"""A small RF-DETR that learns from scratch: a narrow backbone of few blocks, small patches, few groups of queries."""

_base_ = './rfdetr.py'

size = 'tiny'
patch_size = 8

model = dict(
    data_preprocessor=dict(multi_scale=None),
    backbone=dict(embed_dims=128, depth=4, num_heads=4, global_blocks=(1, 3), out_indices=(2, 4)),
    neck=dict(out_channels=128, num_blocks=1),
    head=dict(
        num_groups=5,
        decoder=dict(embed_dims=128, num_heads=4, cross_heads=8, feedforward_dims=256),
    ),
)
