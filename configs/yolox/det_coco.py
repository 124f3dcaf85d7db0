"""YOLOX on COCO (https://arxiv.org/abs/2107.08430).

Expected box mAP on val2017 (published in its repository; nano and tiny at 416 pixels, the others at 640): nano 25.8,
tiny 32.8, s 40.5, m 46.9, l 49.7, x 51.1, darknet53 47.7. Train with
    python tools/train.py configs/yolox/det_coco.py --cfg-options size=s data_root=/data/coco
"""

_base_ = [
    '../_base_/models/yolox_det.py',
    '../_base_/datasets/coco.py',
    '../_base_/schedules/yolox_300e.py',
    '../_base_/default_runtime.py',
]
task = 'det'
augment, img_size, scale, mosaic_prob, mixup_prob = _base_.recipes[_base_.size]
