"""Keypoint R-CNN on COCO by torchvision's recipe (https://arxiv.org/abs/1703.06870).

Expected box and keypoint mAP on val2017, torchvision's: r50 54.6 and 65.0. Train with
    python tools/train.py configs/keypoint_rcnn/pose_coco.py --cfg-options data_root=/data/coco
"""

_base_ = [
    '../_base_/models/keypoint_rcnn.py',
    '../_base_/datasets/coco_keypoint.py',
    '../_base_/schedules/schedule_26e.py',
    '../_base_/fpn_runtime.py',
]
task = 'pose'
