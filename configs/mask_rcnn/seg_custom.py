"""Mask R-CNN on your own dataset with a data.yaml (https://arxiv.org/abs/1703.06870).

There is no published result. Train with
    python tools/train.py configs/mask_rcnn/seg_custom.py --cfg-options data_yaml=path/to/data.yaml
"""

_base_ = [
    '../_base_/models/mask_rcnn.py',
    '../_base_/datasets/data_yaml_detection.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/fpn_runtime.py',
]
task = 'seg'
default_load_from = dict(r50='mask-rcnn-r50', r50_v2='mask-rcnn-r50-v2').get(_base_.size)
