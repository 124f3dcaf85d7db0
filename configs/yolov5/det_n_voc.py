"""YOLOv5n detection on PASCAL VOC; no published figure.

No paper; described at https://docs.ultralytics.com/models/yolov5. Train with
    python tools/train.py configs/yolov5/det_n_voc.py --cfg-options data_root=/data/VOCdevkit
"""

_base_ = [
    '../_base_/models/yolov5_det.py',
    '../_base_/datasets/voc_det.py',
    '../_base_/schedules/yolov5.py',
    '../_base_/default_runtime.py',
]

task = 'det'
