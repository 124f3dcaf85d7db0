"""DEIM on D-FINE on your own dataset with a data.yaml (https://arxiv.org/abs/2412.04234).

There is no published result. Train with
    python tools/train.py configs/deim/det_custom.py --cfg-options size=s data_yaml=path/to/data.yaml
"""

_base_ = [
    '../_base_/models/deim.py',
    '../_base_/datasets/data_yaml_deim.py',
    '../_base_/schedules/deim.py',
    '../_base_/default_runtime.py',
]
task = 'det'
recipe = _base_.recipes[_base_.size]
