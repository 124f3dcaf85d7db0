"""RF-DETR on your own dataset with a data.yaml (https://arxiv.org/abs/2511.09554), from published weights.

There is no published result; on the 100 datasets of RF100-VL n has 57.7, s 60.2, m 61.2, l 62.2 on average. Train with
    python tools/train.py configs/rfdetr/det_custom.py --cfg-options data_yaml=path/to/data.yaml
"""

_base_ = [
    '../_base_/models/rfdetr.py',
    '../_base_/datasets/data_yaml_detr.py',
    '../_base_/schedules/rfdetr_100e.py',
    '../_base_/default_runtime.py',
]
task, keep_ratio, antialias = 'det', False, False
img_size = _base_.side
default_load_from = dict(tiny=None).get(_base_.size, f'rfdetr-{_base_.size}')
