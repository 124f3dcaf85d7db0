"""YOLOv8 detection on COCO (https://docs.ultralytics.com/models/yolov8).

Expected box mAP on val2017 (published there): n 37.3, s 44.9, m 50.2, l 52.9, x 53.9. Train with
    python tools/train.py configs/yolov8/det_coco.py --cfg-options size=n data_root=/data/coco
"""

_base_ = [
    '../_base_/models/yolov8_det.py',
    '../_base_/datasets/coco.py',
    '../_base_/schedules/yolov8_500e.py',
    '../_base_/default_runtime.py',
]
task = 'det'
