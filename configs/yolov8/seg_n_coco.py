"""YOLOv8n instance segmentation on COCO. No paper; described at https://docs.ultralytics.com/models/yolov8.

Expected on val2017: 36.7 box mAP and 30.5 mask mAP (published there). Train with
    python tools/train.py configs/yolov8/seg_n_coco.py --cfg-options data_root=/data/coco
"""

_base_ = [
    '../_base_/models/yolov8_seg.py',
    '../_base_/datasets/coco_seg.py',
    '../_base_/schedules/yolov8_500e.py',
    '../_base_/default_runtime.py',
]

task = 'seg'
