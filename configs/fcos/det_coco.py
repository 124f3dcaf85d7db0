"""FCOS on COCO by torchvision's recipe (https://arxiv.org/abs/1904.01355).

Expected box mAP on val2017, torchvision's: r50 39.2. Train with
    python tools/train.py configs/fcos/det_coco.py --cfg-options data_root=/data/coco
"""

_base_ = [
    '../_base_/models/fcos.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_26e.py',
    '../_base_/fpn_runtime.py',
]
task = 'det'
base_lr = 0.01
predict_cfg = dict(iou_thr=0.6)
