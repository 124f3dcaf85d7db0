"""YOLO26's schedule: YOLOv8's, with weight that moves from the one-to-many losses to the one-to-one losses.

``type='auto'`` picks MuSGD at 0.01 for more than 10,000 steps, with the triple rate in the class branches, else AdamW,
as ultralytics 8.4.190 does. ``yolo26_musgd_500e.py`` decides on MuSGD.
"""

_base_ = './yolov8_500e.py'

task = 'det'  # or 'seg', 'pose', 'obb'
class_lr_mult = {'head.cls_branches': 3.0, 'head.one_to_one.cls_branches': 3.0}
if task == 'seg':
    class_lr_mult['head.semantic_cls'] = 3.0

optim_wrapper = dict(optimizer=dict(type='auto', long='MuSGD', long_lr_mult=class_lr_mult))
# ultralytics 8.4.190 has no least number of iterations, starts the biases of either optimiser at 0, and keeps the last
# epoch of a short run without warm-up.
param_scheduler = dict(warmup_min_iters=0, warmup_bias_lr=0.0, epochs_after_warmup=1)
default_hooks = dict(loss_share=dict(type='LossShareHook', first=0.8, last=0.1))
