"""FCOS on your own dataset with a data.yaml (https://arxiv.org/abs/1904.01355).

There is no published result. Train with
    python tools/train.py configs/fcos/det_custom.py --cfg-options data_yaml=path/to/data.yaml
"""

_base_ = [
    '../_base_/models/fcos.py',
    '../_base_/datasets/data_yaml_detection.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/default_runtime.py',
]
task = 'det'
base_lr = 0.01
