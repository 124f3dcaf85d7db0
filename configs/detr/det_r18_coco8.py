"""A small DETR with ResNet-18 that learns the four training images of COCO8 by heart; no published figure.

Paper: https://arxiv.org/abs/2005.12872. Validation looks at the training images. Train with
    python tools/train.py configs/detr/det_r18_coco8.py
"""

_base_ = [
    '../_base_/models/detr_r18.py',
    '../_base_/datasets/coco8_detr.py',
    '../_base_/schedules/detr_coco8.py',
    '../_base_/default_runtime.py',
]

task = 'det'
