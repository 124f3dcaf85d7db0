"""DEIMv2 on COCO (https://arxiv.org/abs/2509.20787).

Expected box mAP on val2017 (published there): atto 23.8, femto 31.0, pico 38.5, n 43.0. Train with
    python tools/train.py configs/deimv2/det_coco.py --cfg-options size=pico data_root=/data/coco
"""

_base_ = [
    '../_base_/models/deimv2.py',
    '../_base_/datasets/coco_deimv2.py',
    '../_base_/schedules/deimv2.py',
    '../_base_/default_runtime.py',
]
task = 'det'
recipe = _base_.recipes[_base_.size]
