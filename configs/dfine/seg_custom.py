"""D-FINE with masks on your own dataset with a data.yaml (https://arxiv.org/abs/2410.13842).

There is no published result. Train with
    python tools/train.py configs/dfine/seg_custom.py --cfg-options size=s data_yaml=path/to/data.yaml
"""

_base_ = [
    '../_base_/models/dfine_seg.py',
    '../_base_/datasets/data_yaml_rtdetr.py',
    '../_base_/schedules/dfine.py',
    '../_base_/default_runtime.py',
]
task = 'seg'
recipe = _base_.recipes[_base_.size]
