"""YOLO26's schedule: YOLOv8's, with weight that moves from the one-to-many losses to the one-to-one losses.

``type='auto'`` picks MuSGD at 0.01 for more than 10,000 steps, else AdamW. ``yolo26_musgd_500e.py`` decides on MuSGD.
"""

_base_ = './yolov8_500e.py'

optim_wrapper = dict(optimizer=dict(type='auto', long='MuSGD', momentum=0.9))
default_hooks = dict(loss_share=dict(type='LossShareHook', first=0.8, last=0.1))
