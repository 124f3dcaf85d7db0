"""A small RetinaNet with ResNet-18 for COCO8's training images (https://arxiv.org/abs/1708.02002).

There is no published result; on the drawn training images box mAP50 and mAP end at .99, after 3 minutes of one core:
    python tools/train.py configs/retinanet/det_r18_coco8.py
"""

_base_ = [
    '../_base_/models/retinanet_r18.py',
    '../_base_/datasets/coco8_detection.py',
    '../_base_/schedules/fpn_coco8.py',
    '../_base_/fpn_runtime.py',
]
task = 'det'
