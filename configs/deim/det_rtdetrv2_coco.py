"""DEIM on RT-DETRv2 on COCO (https://arxiv.org/abs/2412.04234).

Expected box mAP on val2017 (published): r18 49.0, r34 50.9, r50_m 53.2, r50 54.3, r101 55.5. Train with
    python tools/train.py configs/deim/det_rtdetrv2_coco.py --cfg-options size=r18 data_root=/data/coco
"""

_base_ = [
    '../_base_/models/deim_rtdetr.py',
    '../_base_/datasets/coco_deim.py',
    '../_base_/schedules/deim_rtdetr.py',
    '../_base_/default_runtime.py',
]
task = 'det'
recipe = _base_.recipes[_base_.size]
