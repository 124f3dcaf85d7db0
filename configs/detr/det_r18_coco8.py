"""A small DETR with ResNet-18 that learns COCO8's four training images by heart (https://arxiv.org/abs/2005.12872).

There is no published result; validated on the training images, the drawn set's box mAP50 ends above 0.9. Train with
    python tools/train.py configs/detr/det_r18_coco8.py
"""

_base_ = [
    '../_base_/models/detr_r18.py',
    '../_base_/datasets/coco8_detr.py',
    '../_base_/schedules/detr_coco8.py',
    '../_base_/default_runtime.py',
]
task = 'det'
