"""RT-DETR with masks on COCO (https://arxiv.org/abs/2304.08069; the mask head is that of https://arxiv.org/abs/2511.09554).

There is no published result. Train with
    python tools/train.py configs/rtdetr/seg_coco.py --cfg-options size=r50 data_root=/data/coco
"""

_base_ = [
    '../_base_/models/rtdetr_seg.py',
    '../_base_/datasets/coco_rtdetr.py',
    '../_base_/schedules/rtdetr_72e.py',
    '../_base_/default_runtime.py',
]
task = 'seg'
