"""YOLO26 instance segmentation on COCO (https://docs.ultralytics.com/models/yolo26).

Expected box/mask mAP on val2017 (published there, end to end): n 39.6/33.9, s 47.3/40.0, m 52.5/44.1, l 54.4/45.5,
x 56.5/47.0; these models were trained on Objects365 first, which this recipe leaves out. Train with
    python tools/train.py configs/yolo26/seg_coco.py --cfg-options size=n data_root=/data/coco
"""

_base_ = [
    '../_base_/models/yolo26_seg.py',
    '../_base_/datasets/coco.py',
    '../_base_/schedules/yolo26_musgd_500e.py',
    '../_base_/default_runtime.py',
]
task = 'seg'
