"""YOLOv8 detection on COCO with a level of stride 4, for small objects (https://docs.ultralytics.com/models/yolov8).

There is no published result. Train with
    python tools/train.py configs/yolov8/det_p2_coco.py --cfg-options size=n data_root=/data/coco
"""

_base_ = [
    '../_base_/models/yolov8_det_p2.py',
    '../_base_/datasets/coco.py',
    '../_base_/schedules/yolov8_500e.py',
    '../_base_/default_runtime.py',
]
task = 'det'
