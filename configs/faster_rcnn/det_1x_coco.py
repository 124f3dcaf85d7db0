"""Faster R-CNN on COCO for 12 epochs, mmdetection's schedule 1x (https://arxiv.org/abs/1506.01497).

There is no published result of this network and schedule. Train with
    python tools/train.py configs/faster_rcnn/det_1x_coco.py --cfg-options data_root=/data/coco
"""

_base_ = [
    '../_base_/models/faster_rcnn.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/fpn_runtime.py',
]
task = 'det'
img_size = 320 if _base_.size == 'mobilenet_320' else 800
