"""A small RF-DETR that learns COCO8's four training images by heart (https://arxiv.org/abs/2511.09554).

There is no published result; box mAP50 on the drawn training images ends at .96 to 1.00, in 5 minutes of one core:
    python tools/train.py configs/rfdetr/det_tiny_coco8.py
"""

_base_ = [
    '../_base_/models/rfdetr_tiny.py',
    '../_base_/datasets/coco8_detr.py',
    '../_base_/schedules/detr_coco8.py',
    '../_base_/default_runtime.py',
]
task = 'det'
keep_ratio = False
img_size = _base_.side
