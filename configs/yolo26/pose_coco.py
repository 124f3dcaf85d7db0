"""YOLO26 pose on COCO keypoints (https://docs.ultralytics.com/models/yolo26).

Expected keypoint mAP on val2017 (published there, end to end): n 57.2, s 63.1, m 68.8, l 70.4, x 71.6; these models
were trained on Objects365 first, which this recipe leaves out. Train with
    python tools/train.py configs/yolo26/pose_coco.py --cfg-options size=n data_root=/data/coco
"""

_base_ = [
    '../_base_/models/yolo26_pose.py',
    '../_base_/datasets/coco_pose.py',
    '../_base_/schedules/yolo26_musgd_500e.py',
    '../_base_/default_runtime.py',
]
task = 'pose'
