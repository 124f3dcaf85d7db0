"""RT-DETR with rotated boxes on your own dataset with a data.yaml (https://arxiv.org/abs/2304.08069).

There is no published result; from scratch it learns slowly, see docs/rtdetr.md. Train with
    python tools/train.py configs/rtdetr/obb_custom.py --cfg-options data_yaml=path/to/data.yaml
"""

_base_ = [
    '../_base_/models/rtdetr_obb.py',
    '../_base_/datasets/data_yaml.py',
    '../_base_/schedules/rtdetr_72e.py',
    '../_base_/default_runtime.py',
]
task, size, rect = 'obb', 'r18', False
mosaic_prob, vertical_flip_prob, degrees = 0.0, 0.5, 180
batch_size, val_batch_size = 4, 8
