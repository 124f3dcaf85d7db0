"""YOLOv8 instance segmentation on COCO (https://docs.ultralytics.com/models/yolov8).

Expected box/mask mAP on val2017 (published there): n 36.7/30.5, s 44.6/36.8, m 49.9/40.8, l 52.3/42.6, x 53.4/43.4.
Train with
    python tools/train.py configs/yolov8/seg_coco.py --cfg-options size=n data_root=/data/coco
"""

_base_ = [
    '../_base_/models/yolov8_seg.py',
    '../_base_/datasets/coco.py',
    '../_base_/schedules/yolov8_500e.py',
    '../_base_/default_runtime.py',
]
task = 'seg'
