"""RT-DETR on COCO: DETRs Beat YOLOs on Real-time Object Detection (https://arxiv.org/abs/2304.08069).

Expected box mAP (val2017): r18 46.5, r34 48.9, r50_m 51.3, r50 53.1, r101 54.3, hgnetv2_l 53.0, _x 54.8. Train with
    python tools/train.py configs/rtdetr/det_coco.py --cfg-options size=r50 data_root=/data/coco
"""

_base_ = [
    '../_base_/models/rtdetr.py',
    '../_base_/datasets/coco_rtdetr.py',
    '../_base_/schedules/rtdetr_72e.py',
    '../_base_/default_runtime.py',
]
task = 'det'
