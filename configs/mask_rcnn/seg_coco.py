"""Mask R-CNN on COCO by torchvision's recipe (https://arxiv.org/abs/1703.06870).

Expected box and mask mAP on val2017, torchvision's: r50 37.9 and 34.6, r50_v2 47.4 and 41.8. Train with
    python tools/train.py configs/mask_rcnn/seg_coco.py --cfg-options data_root=/data/coco
"""

_base_ = [
    '../_base_/models/mask_rcnn.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/schedule_26e.py',
    '../_base_/fpn_runtime.py',
]
task = 'seg'
