"""A small RetinaNet that learns from scratch: ResNet-18 with trainable normalisation, and narrow layers."""

_base_ = './retinanet.py'

size = 'r18'
pretrained = None
frozen_stages = -1
backbone_norm = 'bn'
model = dict(neck=dict(out_channels=64), head=dict(feat_channels=64, num_convs=2))
