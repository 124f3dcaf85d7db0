"""YOLO26's schedule: YOLOv8's on COCO, with weight that moves from the one-to-many losses to the one-to-one losses."""

_base_ = './yolov8_500e.py'

default_hooks = dict(loss_share=dict(type='LossShareHook', first=0.8, last=0.1))
