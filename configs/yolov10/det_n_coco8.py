"""YOLOv10 detection on COCO8, eight images to try things out (https://arxiv.org/abs/2405.14458).

There is no published result; from scratch, the box mAP50 of the drawn set's val ends at 0.60, in 4 minutes of one
core's time. Train with
    python tools/train.py configs/yolov10/det_n_coco8.py
"""

_base_ = [
    '../_base_/models/yolov10_det.py',
    '../_base_/datasets/coco8.py',
    '../_base_/schedules/yolov8_coco8.py',
    '../_base_/default_runtime.py',
]
task = 'det'
img_size = 320
