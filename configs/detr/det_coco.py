"""DETR on COCO: End-to-End Object Detection with Transformers (https://arxiv.org/abs/2005.12872).

Expected box mAP on val2017: r50 42.0, r101 43.5, r50_dc5 43.3, r101_dc5 44.9 (max_epochs=500 lr_drop=400). Train with
    tools/dist_train.sh configs/detr/det_coco.py 8 --cfg-options size=r50 data_root=/data/coco
    python tools/train.py configs/detr/det_coco.py --cfg-options data_root=/data/coco optim_wrapper.accumulate=8
"""

_base_ = [
    '../_base_/models/detr.py',
    '../_base_/datasets/coco_detr.py',
    '../_base_/schedules/detr_300e.py',
    '../_base_/default_runtime.py',
]
task = 'det'
