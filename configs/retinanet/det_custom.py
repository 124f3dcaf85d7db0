"""RetinaNet on your own dataset with a data.yaml (https://arxiv.org/abs/1708.02002).

There is no published result. Train with
    python tools/train.py configs/retinanet/det_custom.py --cfg-options data_yaml=path/to/data.yaml
"""

_base_ = [
    '../_base_/models/retinanet.py',
    '../_base_/datasets/data_yaml_detection.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/fpn_runtime.py',
]
task = 'det'
base_lr = 0.01
default_load_from = dict(r50='retinanet-r50', r50_v2='retinanet-r50-v2').get(_base_.size)
