"""YOLO26's schedule for classifiers: YOLOv8's with the optimisers and the warm-up of ultralytics 8.4.190.

``type='auto'`` picks MuSGD at 0.01 for more than 10,000 steps, without the triple rate of detectors' class branches.
"""

_base_ = './yolov8_cls.py'

optim_wrapper = dict(optimizer=dict(type='auto', long='MuSGD'))
param_scheduler = dict(warmup_min_iters=0, warmup_bias_lr=0.0, epochs_after_warmup=1)
