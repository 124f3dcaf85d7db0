"""DETR on your own dataset with a data.yaml (https://arxiv.org/abs/2005.12872).

There is no published result. It learns slowly from scratch; start from COCO's weights (docs/detr.md). Train with
    python tools/train.py configs/detr/det_custom.py --cfg-options data_yaml=path/to/data.yaml load_from=detr_r50.pth
"""

_base_ = [
    '../_base_/models/detr.py',
    '../_base_/datasets/data_yaml_detr.py',
    '../_base_/schedules/detr_300e.py',
    '../_base_/default_runtime.py',
]
task = 'det'
default_load_from = dict(r18=None).get(_base_.size, 'detr-' + _base_.size.replace('_', '-'))
