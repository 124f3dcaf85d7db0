"""D-FINE with masks on COCO (https://arxiv.org/abs/2410.13842; the mask head is that of https://arxiv.org/abs/2511.09554).

There is no published result. Train with
    python tools/train.py configs/dfine/seg_coco.py --cfg-options size=s data_root=/data/coco
"""

_base_ = [
    '../_base_/models/dfine_seg.py',
    '../_base_/datasets/coco_rtdetr.py',
    '../_base_/schedules/dfine.py',
    '../_base_/default_runtime.py',
]
task = 'seg'
recipe = _base_.recipes[_base_.size]
