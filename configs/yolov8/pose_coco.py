"""YOLOv8 pose on COCO keypoints (https://docs.ultralytics.com/models/yolov8).

Expected keypoint mAP on val2017 (published there): n 50.4, s 60.0, m 65.0, l 67.6, x 69.2. Train with
    python tools/train.py configs/yolov8/pose_coco.py --cfg-options size=n data_root=/data/coco
"""

_base_ = [
    '../_base_/models/yolov8_pose.py',
    '../_base_/datasets/coco_pose.py',
    '../_base_/schedules/yolov8_500e.py',
    '../_base_/default_runtime.py',
]
task = 'pose'
