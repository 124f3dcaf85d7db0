"""A small DETR that learns from scratch: ResNet-18 with trainable normalisation, few layers, no dropout.

It reads the feature map of stride 16: small images have too few cells of stride 32 to separate their objects.
"""

_base_ = './detr.py'

size = 'r18'
pretrained = None

model = dict(
    backbone=dict(out_indices=(3,), frozen_stages=-1, norm='bn'),
    head=dict(
        num_queries=30,
        transformer=dict(num_encoder_layers=2, num_decoder_layers=3, feedforward_dims=512, dropout=0.0),
    ),
)
