"""DETR with ResNet-50 and masks on COCO. Paper: https://arxiv.org/abs/2005.12872, section 4.4.

There is no published figure for COCO's 80 classes alone; 31.1 mask mAP for the panoptic model (its table 5). Train the
boxes (det_r50_coco.py), then the masks with
    python tools/train.py configs/detr/seg_r50_coco.py --cfg-options load_from=work_dirs/det_r50_coco/best.pth
"""

_base_ = [
    '../_base_/models/detr_r50_seg.py',
    '../_base_/datasets/coco_detr_seg.py',
    '../_base_/schedules/detr_masks_25e.py',
    '../_base_/default_runtime.py',
]
task = 'seg'
