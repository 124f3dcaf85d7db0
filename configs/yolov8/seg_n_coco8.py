"""YOLOv8n instance segmentation on COCO8, eight images for trying things out; no published figure.

No paper; described at https://docs.ultralytics.com/models/yolov8. Train with
    python tools/train.py configs/yolov8/seg_n_coco8.py
"""

_base_ = [
    '../_base_/models/yolov8_seg.py',
    '../_base_/datasets/coco8_seg.py',
    '../_base_/schedules/yolov8_coco8.py',
    '../_base_/default_runtime.py',
]

task = 'seg'
