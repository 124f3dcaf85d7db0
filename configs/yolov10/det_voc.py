"""YOLOv10 detection on PASCAL VOC (https://arxiv.org/abs/2405.14458).

There is no published result of this recipe. Train with
    python tools/train.py configs/yolov10/det_voc.py --cfg-options size=n data_root=/data/VOCdevkit
"""

_base_ = [
    '../_base_/models/yolov10_det.py',
    '../_base_/datasets/voc.py',
    '../_base_/schedules/yolov8_500e.py',
    '../_base_/default_runtime.py',
]
task = 'det'
max_epochs = 100
