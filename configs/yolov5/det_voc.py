"""YOLOv5 detection on PASCAL VOC (https://docs.ultralytics.com/models/yolov5).

There is no published result. Train with
    python tools/train.py configs/yolov5/det_voc.py --cfg-options size=n data_root=/data/VOCdevkit
"""

_base_ = [
    '../_base_/models/yolov5_det.py',
    '../_base_/datasets/voc.py',
    '../_base_/schedules/yolov5.py',
    '../_base_/default_runtime.py',
]
task = 'det'
