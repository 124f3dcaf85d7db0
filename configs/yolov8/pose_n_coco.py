"""YOLOv8n pose on COCO keypoints. No paper; described at https://docs.ultralytics.com/models/yolov8.

Expected on val2017: 50.4 keypoint mAP (published there). Train with
    python tools/train.py configs/yolov8/pose_n_coco.py --cfg-options data_root=/data/coco
"""

_base_ = [
    '../_base_/models/yolov8_pose.py',
    '../_base_/datasets/coco_pose.py',
    '../_base_/schedules/yolov8_500e.py',
    '../_base_/default_runtime.py',
]

task = 'pose'
