"""A small RT-DETR with masks for COCO8's four training images (https://arxiv.org/abs/2304.08069).

There is no published result; on the drawn training images box and mask mAP50 end at .99, after 9 minutes of one core:
    python tools/train.py configs/rtdetr/seg_r18_coco8.py
"""

_base_ = [
    '../_base_/models/rtdetr_tiny.py',
    '../_base_/datasets/coco8_detr.py',
    '../_base_/schedules/detr_coco8.py',
    '../_base_/default_runtime.py',
]
task = 'seg'
keep_ratio = False
model = dict(head=dict(type='RTDETRSegmentHead'))
