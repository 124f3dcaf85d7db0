"""DETR on the boxes of COCO panoptic, things and stuff, from which panoptic_coco.py starts.

Described at https://arxiv.org/abs/2005.12872, section 4.4; there is no published result of this stage. Train with
    python tools/train.py configs/detr/det_panoptic.py --cfg-options data_root=/data/coco
"""

_base_ = [
    '../_base_/models/detr.py',
    '../_base_/datasets/coco_panoptic.py',
    '../_base_/schedules/detr_300e.py',
    '../_base_/default_runtime.py',
]
task = 'det'
