"""A small RT-DETR with rotated boxes for DOTA8's training images (https://arxiv.org/abs/2304.08069).

There is no published result; validation reads the training images. Train with
    python tools/train.py configs/rtdetr/obb_r18_dota8.py
"""

_base_ = [
    '../_base_/models/rtdetr_obb_tiny.py',
    '../_base_/datasets/dota8_detr.py',
    '../_base_/schedules/detr_coco8.py',
    '../_base_/default_runtime.py',
]
task = 'obb'
max_epochs = 150
