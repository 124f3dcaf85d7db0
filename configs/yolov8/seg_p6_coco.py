"""YOLOv8 instance segmentation on COCO with a level of stride 64, for large images.

There is no published result (https://docs.ultralytics.com/models/yolov8). Train with
    python tools/train.py configs/yolov8/seg_p6_coco.py --cfg-options size=n data_root=/data/coco img_size=1280
"""

_base_ = [
    '../_base_/models/yolov8_seg_p6.py',
    '../_base_/datasets/coco.py',
    '../_base_/schedules/yolov8_500e.py',
    '../_base_/default_runtime.py',
]
task = 'seg'
size_divisor = 64
