"""YOLO11 pose on COCO keypoints (https://docs.ultralytics.com/models/yolo11).

Expected keypoint mAP on val2017 (published there): n 50.0, s 58.9, m 64.9, l 66.1, x 69.5. Train with
    python tools/train.py configs/yolo11/pose_coco.py --cfg-options size=n data_root=/data/coco
"""

_base_ = [
    '../_base_/models/yolo11_pose.py',
    '../_base_/datasets/coco_pose.py',
    '../_base_/schedules/yolov8_500e.py',
    '../_base_/default_runtime.py',
]
task = 'pose'
