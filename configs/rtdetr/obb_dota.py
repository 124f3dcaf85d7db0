"""RT-DETR with rotated boxes on DOTA 1.0 (https://arxiv.org/abs/2304.08069), cut into tiles (docs/rotated_boxes.md).

There is no published result, and none was measured. Train with
    python tools/train.py configs/rtdetr/obb_dota.py --cfg-options size=r50 data_root=/data/dota
"""

_base_ = [
    '../_base_/models/rtdetr_obb.py',
    '../_base_/datasets/dota.py',
    '../_base_/schedules/rtdetr_72e.py',
    '../_base_/default_runtime.py',
]
task, rect = 'obb', False
mosaic_prob, vertical_flip_prob, degrees = 0.0, 0.5, 180
batch_size, val_batch_size = 4, 8
