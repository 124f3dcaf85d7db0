"""A small DETR with ResNet-18 that learns the four training images of COCO8 by heart; no published figure.

Paper: https://arxiv.org/abs/2005.12872. Validation looks at the training images, on which the drawn set comes to a box
mAP50 above 0.9. Train with
    python tools/train.py configs/detr/det_r18_coco8.py
"""

_base_ = [
    '../_base_/models/detr_r18.py',
    '../_base_/datasets/coco8_detr.py',
    '../_base_/schedules/detr_coco8.py',
    '../_base_/default_runtime.py',
]

task = 'det'
