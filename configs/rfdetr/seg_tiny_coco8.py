"""A small RF-DETR with masks for COCO8's four training images (https://arxiv.org/abs/2511.09554).

There is no published result; on the drawn training images box mAP50 ends at .96 and mask mAP50 at .97, after 10 minutes
of one core. Train with ``python tools/train.py configs/rfdetr/seg_tiny_coco8.py``.
"""

_base_ = [
    '../_base_/models/rfdetr_tiny.py',
    '../_base_/datasets/coco8_detr.py',
    '../_base_/schedules/detr_coco8.py',
    '../_base_/default_runtime.py',
]
task = 'seg'
keep_ratio, img_size, max_epochs = False, _base_.side, 200
model = dict(head=dict(type='RFDETRSegmentHead'))
