"""YOLO26 detection on COCO (https://docs.ultralytics.com/models/yolo26).

Expected box mAP on val2017 (published there, end to end): n 40.1, s 47.8, m 52.5, l 54.4, x 56.9; these models were
trained on Objects365 first, which this recipe leaves out. Train with
    python tools/train.py configs/yolo26/det_coco.py --cfg-options size=n data_root=/data/coco
"""

_base_ = [
    '../_base_/models/yolo26_det.py',
    '../_base_/datasets/coco.py',
    '../_base_/schedules/yolo26_musgd_500e.py',
    '../_base_/default_runtime.py',
]
task = 'det'
