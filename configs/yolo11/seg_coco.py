"""YOLO11 instance segmentation on COCO (https://docs.ultralytics.com/models/yolo11).

Expected box/mask mAP on val2017 (published there): n 38.9/32.0, s 46.6/37.8, m 51.5/41.5, l 53.4/42.9, x 54.7/43.8.
Train with
    python tools/train.py configs/yolo11/seg_coco.py --cfg-options size=n data_root=/data/coco
"""

_base_ = [
    '../_base_/models/yolo11_seg.py',
    '../_base_/datasets/coco.py',
    '../_base_/schedules/yolov8_500e.py',
    '../_base_/default_runtime.py',
]
task = 'seg'
