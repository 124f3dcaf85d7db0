"""YOLOv3-tiny on COCO (https://pjreddie.com/darknet/yolo).

Expected at 416 pixels: 33.1 box mAP50 on test-dev (published there). Train with
    python tools/train.py configs/yolov3/det_tiny_coco.py --cfg-options data_root=/data/coco
"""

_base_ = [
    '../_base_/models/yolov3_tiny.py',
    '../_base_/datasets/coco_det.py',
    '../_base_/schedules/yolov3.py',
    '../_base_/default_runtime.py',
]

task = 'det'
