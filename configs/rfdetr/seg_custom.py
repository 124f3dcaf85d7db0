"""RF-DETR with masks on your own dataset with a data.yaml (https://arxiv.org/abs/2511.09554), from published weights.

There is no published result. Train with
    python tools/train.py configs/rfdetr/seg_custom.py --cfg-options data_yaml=path/to/data.yaml
"""

_base_ = [
    '../_base_/models/rfdetr_seg.py',
    '../_base_/datasets/data_yaml_detr.py',
    '../_base_/schedules/rfdetr_100e.py',
    '../_base_/default_runtime.py',
]
task, keep_ratio, antialias = 'seg', False, False
img_size = _base_.side
default_load_from = f'rfdetr-{_base_.size}-seg'
