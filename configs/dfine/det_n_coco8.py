"""D-FINE-N on COCO8's four training images, from scratch (https://arxiv.org/abs/2410.13842).

There is no published result; on the training photographs box mAP50 ends at 1.00 after 7 minutes of one core. Train with
    python tools/train.py configs/dfine/det_n_coco8.py
"""

_base_ = [
    '../_base_/models/dfine.py',
    '../_base_/datasets/coco8_detr.py',
    '../_base_/schedules/dfine_coco8.py',
    '../_base_/default_runtime.py',
]
task = 'det'
size = 'n'
keep_ratio = False
