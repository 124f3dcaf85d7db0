"""YOLOv8 with rotated boxes on DOTA8, a few images to try things out (https://docs.ultralytics.com/models/yolov8).

There is no published result; from scratch, the mAP50 of the drawn set's val ends at about 0.91. Train with
    python tools/train.py configs/yolov8/obb_n_dota8.py
"""

_base_ = [
    '../_base_/models/yolov8_obb.py',
    '../_base_/datasets/dota8.py',
    '../_base_/schedules/yolov8_coco8.py',
    '../_base_/default_runtime.py',
]
task = 'obb'
