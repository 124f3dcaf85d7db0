"""FCOS on your own dataset with a data.yaml (https://arxiv.org/abs/1904.01355).

There is no published result. Train with
    python tools/train.py configs/fcos/det_custom.py --cfg-options data_yaml=path/to/data.yaml
"""

_base_ = [
    '../_base_/models/fcos.py',
    '../_base_/datasets/data_yaml_detection.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/fpn_runtime.py',
]
task = 'det'
base_lr, predict_cfg = 0.01, dict(iou_thr=0.6)
default_load_from = dict(r50='fcos-r50').get(_base_.size)
