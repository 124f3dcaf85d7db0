"""YOLO26 detection on COCO from weights of Objects365 (https://docs.ultralytics.com/guides/yolo26-training-recipe).

Expected box mAP on val2017 (published there, end to end): n 40.1, s 47.8, m 52.5, l 54.4, x 56.9. Train with
    python tools/train.py configs/yolo26/det_coco_tuned.py --cfg-options size=n data_root=/data/coco load_from=o365.pth
"""

_base_ = [
    '../_base_/models/yolo26_det_tuned.py',
    '../_base_/datasets/coco_yolo26.py',
    '../_base_/schedules/yolo26_tuned.py',
    '../_base_/default_runtime.py',
]
task = 'det'
