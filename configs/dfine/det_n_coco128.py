"""D-FINE-N on COCO128, 128 images of train2017, from scratch (https://arxiv.org/abs/2410.13842).

There is no published result; on the same 128 images box mAP50 ends at 0.91 and mAP at 0.74, after 46 minutes of one
core. Train with
    python tools/train.py configs/dfine/det_n_coco128.py --cfg-options data_root=/data/coco128
"""

_base_ = [
    '../_base_/models/dfine.py',
    '../_base_/datasets/coco128_detr.py',
    '../_base_/schedules/dfine_coco128.py',
    '../_base_/default_runtime.py',
]
task = 'det'
size = 'n'
