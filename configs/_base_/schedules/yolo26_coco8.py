"""A short schedule from scratch for a set of a few images, see yolov8_coco8.py, with YOLO26's weights of losses."""

_base_ = './yolov8_coco8.py'

default_hooks = dict(loss_share=dict(type='LossShareHook', first=0.8, last=0.1))
