"""DEIMv2 on your own dataset with a data.yaml (https://arxiv.org/abs/2509.20787).

There is no published result. Train with
    python tools/train.py configs/deimv2/det_custom.py --cfg-options size=pico data_yaml=path/to/data.yaml
"""

_base_ = [
    '../_base_/models/deimv2.py',
    '../_base_/datasets/data_yaml_deimv2.py',
    '../_base_/schedules/deimv2.py',
    '../_base_/default_runtime.py',
]
task = 'det'
recipe = _base_.recipes[_base_.size]
