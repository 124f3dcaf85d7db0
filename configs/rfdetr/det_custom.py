"""RF-DETR on your own dataset with a data.yaml (https://arxiv.org/abs/2511.09554), from converted weights.

There is no published result; on the 100 datasets of RF100-VL n has 57.7, s 60.2, m 61.2, l 62.2 on average. Train with
    python tools/train.py configs/rfdetr/det_custom.py --cfg-options data_yaml=path/to/data.yaml load_from=det-nano.pth
"""

_base_ = [
    '../_base_/models/rfdetr.py',
    '../_base_/datasets/data_yaml_detr.py',
    '../_base_/schedules/rfdetr_100e.py',
    '../_base_/default_runtime.py',
]
task = 'det'
keep_ratio = False
img_size = _base_.side
