"""FCOS on COCO for 12 epochs, mmdetection's schedule 1x (https://arxiv.org/abs/1904.01355).

There is no published result of this network and schedule. Train with
    python tools/train.py configs/fcos/det_1x_coco.py --cfg-options data_root=/data/coco
"""

_base_ = [
    '../_base_/models/fcos.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/fpn_runtime.py',
]
task = 'det'
base_lr = 0.01
predict_cfg = dict(iou_thr=0.6)
