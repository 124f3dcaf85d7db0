"""YOLOv8 pose on COCO keypoints with a level of stride 64, for large images.

There is no published result (https://docs.ultralytics.com/models/yolov8). Train with
    python tools/train.py configs/yolov8/pose_p6_coco.py --cfg-options size=n data_root=/data/coco img_size=1280
"""

_base_ = [
    '../_base_/models/yolov8_pose_p6.py',
    '../_base_/datasets/coco_pose.py',
    '../_base_/schedules/yolov8_500e.py',
    '../_base_/default_runtime.py',
]
task = 'pose'
size_divisor = 64
