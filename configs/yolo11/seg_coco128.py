"""YOLO11 instance segmentation on COCO128, 128 images of train2017 (https://docs.ultralytics.com/models/yolo11).

There is no published result. Train with
    python tools/train.py configs/yolo11/seg_coco128.py --cfg-options size=n data_root=/data/coco128-seg
"""

_base_ = [
    '../_base_/models/yolo11_seg.py',
    '../_base_/datasets/coco128.py',
    '../_base_/schedules/yolov8_500e.py',
    '../_base_/default_runtime.py',
]
task = 'seg'
max_epochs = 100
