"""DETR on COCO panoptic (https://arxiv.org/abs/2005.12872, section 4.4).

Expected PQ on val2017: r50 43.4, r50_dc5 44.6, r101 45.1 (its table 5). Train det_panoptic.py, then the masks with
    python tools/train.py configs/detr/panoptic_coco.py --cfg-options load_from=work_dirs/det_panoptic/best.pth
"""

_base_ = [
    '../_base_/models/detr_seg.py',
    '../_base_/datasets/coco_panoptic.py',
    '../_base_/schedules/detr_masks_25e.py',
    '../_base_/default_runtime.py',
]
task = 'panoptic'
model = dict(head=dict(test_cfg=dict(panoptic_score_thr=0.85, panoptic_min_area=4)))
