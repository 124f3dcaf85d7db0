"""YOLO-World detection on COCO8, eight images to try things out (https://arxiv.org/abs/2401.17270).

There is no published result; from scratch, the box mAP50 of the drawn set's val is 0.83, after 7 minutes of one core's
time. Train with
    python tools/train.py configs/yolo_world/det_s_coco8.py
"""

_base_ = [
    '../_base_/models/yolo_world_det.py',
    '../_base_/datasets/coco8.py',
    '../_base_/schedules/yolov8_coco8.py',
    '../_base_/default_runtime.py',
]
task = 'det'
img_size = 320
