"""YOLOX-nano that learns images of one size, for sets of a few images."""

_base_ = './yolox_det.py'

size = 'nano'
multi_scale = None
