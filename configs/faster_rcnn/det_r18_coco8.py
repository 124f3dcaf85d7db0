"""A small Faster R-CNN with ResNet-18 for COCO8's training images (https://arxiv.org/abs/1506.01497).

There is no published result; on the drawn training images box mAP50 and mAP end at 1.00, after 3 minutes of one core:
    python tools/train.py configs/faster_rcnn/det_r18_coco8.py
"""

_base_ = [
    '../_base_/models/faster_rcnn_r18.py',
    '../_base_/datasets/coco8_detection.py',
    '../_base_/schedules/fpn_coco8.py',
    '../_base_/fpn_runtime.py',
]
task = 'det'
