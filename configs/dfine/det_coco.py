"""D-FINE on COCO (https://arxiv.org/abs/2410.13842).

Expected box mAP on val2017 (published there): n 42.8, s 48.5, m 52.3, l 54.0, x 55.8. Train with
    python tools/train.py configs/dfine/det_coco.py --cfg-options size=s data_root=/data/coco
"""

_base_ = [
    '../_base_/models/dfine.py',
    '../_base_/datasets/coco_rtdetr.py',
    '../_base_/schedules/dfine.py',
    '../_base_/default_runtime.py',
]
task = 'det'
recipe = _base_.recipes[_base_.size]
