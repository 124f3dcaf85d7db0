"""D-FINE-N with masks on COCO8's four training images, from scratch (https://arxiv.org/abs/2410.13842).

There is no published result; on the drawn training images box and mask mAP50 end at 1.00, after 7 minutes of one core:
    python tools/train.py configs/dfine/seg_n_coco8.py
"""

_base_ = [
    '../_base_/models/dfine_seg.py',
    '../_base_/datasets/coco8_detr.py',
    '../_base_/schedules/dfine_coco8.py',
    '../_base_/default_runtime.py',
]
task = 'seg'
keep_ratio, size = False, 'n'
model = dict(head=dict(num_queries=60, num_denoising=40))
