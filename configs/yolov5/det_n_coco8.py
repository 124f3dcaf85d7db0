"""YOLOv5 detection on COCO8, eight images to try things out (https://docs.ultralytics.com/models/yolov5).

There is no published result; from scratch, the box mAP50 of the drawn set's val ends at about 0.86. Train with
    python tools/train.py configs/yolov5/det_n_coco8.py
"""

_base_ = [
    '../_base_/models/yolov5_det.py',
    '../_base_/datasets/coco8.py',
    '../_base_/schedules/yolov5_coco8.py',
    '../_base_/default_runtime.py',
]
task = 'det'
