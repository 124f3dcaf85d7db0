"""DETR with ResNet-50 on COCO panoptic. Paper: https://arxiv.org/abs/2005.12872, section 4.4.

Expected on val2017: 43.4 PQ (its table 5). Train the boxes (det_r50_panoptic.py), then the masks with
    python tools/train.py configs/detr/panoptic_r50_coco.py --cfg-options load_from=work_dirs/det_r50_panoptic/best.pth
"""

_base_ = [
    '../_base_/models/detr_r50_seg.py',
    '../_base_/datasets/coco_panoptic.py',
    '../_base_/schedules/detr_masks_25e.py',
    '../_base_/default_runtime.py',
]
task = 'panoptic'
model = dict(head=dict(test_cfg=dict(panoptic_score_thr=0.85, panoptic_min_area=4)))
