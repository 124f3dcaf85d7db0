"""Keypoint R-CNN on COCO for 24 epochs, mmdetection's schedule 2x (https://arxiv.org/abs/1703.06870).

There is no published result of this network and schedule. Train with
    python tools/train.py configs/keypoint_rcnn/pose_2x_coco.py --cfg-options data_root=/data/coco
"""

_base_ = [
    '../_base_/models/keypoint_rcnn.py',
    '../_base_/datasets/coco_keypoint.py',
    '../_base_/schedules/schedule_2x.py',
    '../_base_/fpn_runtime.py',
]
task = 'pose'
