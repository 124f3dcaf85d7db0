"""YOLOv5 detection on COCO (https://docs.ultralytics.com/models/yolov5).

Expected box mAP on val2017 (published there): n 28.0, s 37.4, m 45.4, l 49.0, x 50.7. Train with
    python tools/train.py configs/yolov5/det_coco.py --cfg-options size=n data_root=/data/coco
"""

_base_ = [
    '../_base_/models/yolov5_det.py',
    '../_base_/datasets/coco.py',
    '../_base_/schedules/yolov5.py',
    '../_base_/default_runtime.py',
]
task = 'det'
