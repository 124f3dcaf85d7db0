"""DETR with ResNet-50 on the boxes of COCO panoptic, things and stuff: what panoptic_r50_coco.py starts from.

Paper: https://arxiv.org/abs/2005.12872, section 4.4; no published figure for this stage. Train with
    python tools/train.py configs/detr/det_r50_panoptic.py --cfg-options data_root=/data/coco
"""

_base_ = [
    '../_base_/models/detr_r50.py',
    '../_base_/datasets/coco_panoptic_det.py',
    '../_base_/schedules/detr_300e.py',
    '../_base_/default_runtime.py',
]
task = 'det'
