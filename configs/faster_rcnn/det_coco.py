"""Faster R-CNN on COCO by torchvision's recipe (https://arxiv.org/abs/1506.01497).

Expected box mAP on val2017, torchvision's: r50 37.0, r50_v2 46.7, mobilenet 32.8. Train with
    python tools/train.py configs/faster_rcnn/det_coco.py --cfg-options data_root=/data/coco
"""

_base_ = [
    '../_base_/models/faster_rcnn.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_26e.py',
    '../_base_/fpn_runtime.py',
]
task = 'det'
img_size = 320 if _base_.size == 'mobilenet_320' else 800
