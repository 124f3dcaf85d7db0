"""YOLOv3, YOLOv3-SPP and YOLOv3-tiny on COCO (sources and sizes: configs/_base_/models/yolov3.py).

Expected box mAP at 608 pixels: full 33.0 (test-dev); spp 37.0 (val2017), 42.1 retrained
(https://github.com/ultralytics/yolov3). Expected mAP50 at 416 pixels: tiny 33.1 (test-dev). Train with
    python tools/train.py configs/yolov3/det_coco.py --cfg-options size=spp data_root=/data/coco
"""

_base_ = [
    '../_base_/models/yolov3.py',
    '../_base_/datasets/coco.py',
    '../_base_/schedules/yolov3.py',
    '../_base_/default_runtime.py',
]
task = 'det'
