"""Faster R-CNN on your own dataset with a data.yaml (https://arxiv.org/abs/1506.01497).

There is no published result. Train with
    python tools/train.py configs/faster_rcnn/det_custom.py --cfg-options data_yaml=path/to/data.yaml
"""

_base_ = [
    '../_base_/models/faster_rcnn.py',
    '../_base_/datasets/data_yaml_detection.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/fpn_runtime.py',
]
task, _size = 'det', _base_.size.replace('_', '-')
img_size = 320 if _base_.size == 'mobilenet_320' else 800
default_load_from = f'faster-rcnn-{_size}' if _size in ('r50', 'r50-v2', 'mobilenet', 'mobilenet-320') else None
