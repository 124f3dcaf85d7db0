"""RT-DETRv2 on COCO, which has the network of RT-DETR and another recipe (https://arxiv.org/abs/2407.17140).

Expected box mAP on val2017: r18 48.1, r34 49.9, r50_m 51.9, r50 53.4, r101 54.3, hgnetv2_x 54.7. Train with
    python tools/train.py configs/rtdetr/det_v2_coco.py --cfg-options size=r18 data_root=/data/coco
"""

_base_ = [
    '../_base_/models/rtdetr.py',
    '../_base_/datasets/coco_rtdetr.py',
    '../_base_/schedules/rtdetr_v2.py',
    '../_base_/default_runtime.py',
]
task = 'det'
max_epochs = 120 if _base_.size in ('r18', 'r34') else 72
backbone_lr_mult = dict(r18=1.0, r34=0.5, r101=0.01).get(_base_.size, 0.1)
