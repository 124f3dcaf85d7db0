"""YOLOv3-tiny on COCO8, eight images for trying things out; no published figure.

Described at https://pjreddie.com/darknet/yolo. Train with
    python tools/train.py configs/yolov3/det_tiny_coco8.py
"""

_base_ = [
    '../_base_/models/yolov3_tiny.py',
    '../_base_/datasets/coco8_det.py',
    '../_base_/schedules/yolov3_coco8.py',
    '../_base_/default_runtime.py',
]

task = 'det'
