"""DEIM on D-FINE on COCO (https://arxiv.org/abs/2412.04234).

Expected box mAP on val2017 (published there): n 43.0, s 49.0, m 52.7, l 54.7, x 56.5. Train with
    python tools/train.py configs/deim/det_coco.py --cfg-options size=s data_root=/data/coco
"""

_base_ = [
    '../_base_/models/deim.py',
    '../_base_/datasets/coco_deim.py',
    '../_base_/schedules/deim.py',
    '../_base_/default_runtime.py',
]
task = 'det'
recipe = _base_.recipes[_base_.size]
