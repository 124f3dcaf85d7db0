"""YOLOv10 detection on COCO128, 128 images of train2017 (https://arxiv.org/abs/2405.14458).

There is no published result. Train with
    python tools/train.py configs/yolov10/det_coco128.py --cfg-options size=n data_root=/data/coco128
"""

_base_ = [
    '../_base_/models/yolov10_det.py',
    '../_base_/datasets/coco128.py',
    '../_base_/schedules/yolov8_500e.py',
    '../_base_/default_runtime.py',
]
task = 'det'
max_epochs = 100
