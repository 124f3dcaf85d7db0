"""YOLOv3-SPP on a dataset of your own that a data.yaml describes; no published figure.

Described at https://arxiv.org/abs/1903.08589. Train with
    python tools/train.py configs/yolov3/det_spp_custom.py --cfg-options data_yaml=path/to/data.yaml
"""

_base_ = [
    '../_base_/models/yolov3_spp.py',
    '../_base_/datasets/data_yaml_det.py',
    '../_base_/schedules/yolov3.py',
    '../_base_/default_runtime.py',
]

task = 'det'
