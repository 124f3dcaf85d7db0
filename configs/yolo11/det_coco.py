"""YOLO11 detection on COCO (https://docs.ultralytics.com/models/yolo11).

Expected box mAP on val2017 (published there): n 39.5, s 47.0, m 51.5, l 53.4, x 54.7. Train with
    python tools/train.py configs/yolo11/det_coco.py --cfg-options size=n data_root=/data/coco
"""

_base_ = [
    '../_base_/models/yolo11_det.py',
    '../_base_/datasets/coco.py',
    '../_base_/schedules/yolov8_500e.py',
    '../_base_/default_runtime.py',
]
task = 'det'
