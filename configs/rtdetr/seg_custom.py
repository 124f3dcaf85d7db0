"""RT-DETR with masks on your own dataset with a data.yaml (https://arxiv.org/abs/2304.08069).

There is no published result; from scratch it learns slowly, see docs/rtdetr.md. Train with
    python tools/train.py configs/rtdetr/seg_custom.py --cfg-options data_yaml=path/to/data.yaml
"""

_base_ = [
    '../_base_/models/rtdetr_seg.py',
    '../_base_/datasets/data_yaml_rtdetr.py',
    '../_base_/schedules/rtdetr_72e.py',
    '../_base_/default_runtime.py',
]
task = 'seg'
size = 'r18'
