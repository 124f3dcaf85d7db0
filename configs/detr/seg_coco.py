"""DETR with masks on COCO (https://arxiv.org/abs/2005.12872, section 4.4), after det_coco.py.

There is no published result of COCO's 80 classes alone; 31.1 mask mAP for the panoptic model (its table 5). Train with
    python tools/train.py configs/detr/seg_coco.py --cfg-options load_from=work_dirs/det_coco/best.pth
"""

_base_ = [
    '../_base_/models/detr_seg.py',
    '../_base_/datasets/coco_detr.py',
    '../_base_/schedules/detr_masks_25e.py',
    '../_base_/default_runtime.py',
]
task = 'seg'
