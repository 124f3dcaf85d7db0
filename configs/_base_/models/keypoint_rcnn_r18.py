"""A small Keypoint R-CNN that learns from scratch: ResNet-18 with trainable normalisation, and narrow layers."""

_base_ = './keypoint_rcnn.py'

size = 'r18'
pretrained = None
frozen_stages = -1
backbone_norm = 'bn'
neck_channels = 64
fc_channels = 128
num_proposals = 200
keypoint_channels = 64
