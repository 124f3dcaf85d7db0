"""YOLOv3-SPP, or another size of YOLOv3, on your own dataset with a data.yaml (https://arxiv.org/abs/1804.02767).

There is no published result. Train with
    python tools/train.py configs/yolov3/det_custom.py --cfg-options size=spp data_yaml=path/to/data.yaml
"""

_base_ = [
    '../_base_/models/yolov3.py',
    '../_base_/datasets/data_yaml.py',
    '../_base_/schedules/yolov3.py',
    '../_base_/default_runtime.py',
]
task = 'det'
default_load_from = dict(full='yolov3', spp='yolov3-spp', tiny='yolov3-tiny')[_base_.size]
