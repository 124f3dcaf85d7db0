"""YOLO26 detection on COCO8, eight images to try things out (https://docs.ultralytics.com/models/yolo26).

There is no published result; from scratch, the mAP50 of the drawn set's val ends at 0.62, in 4 minutes of one core.
Train with
    python tools/train.py configs/yolo26/det_n_coco8.py
"""

_base_ = [
    '../_base_/models/yolo26_det.py',
    '../_base_/datasets/coco8.py',
    '../_base_/schedules/yolo26_coco8.py',
    '../_base_/default_runtime.py',
]
task = 'det'
img_size = 320
