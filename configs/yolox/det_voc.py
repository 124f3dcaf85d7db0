"""YOLOX on PASCAL VOC (https://arxiv.org/abs/2107.08430).

There is no published result. Train with
    python tools/train.py configs/yolox/det_voc.py --cfg-options size=s data_root=/data/VOCdevkit
"""

_base_ = [
    '../_base_/models/yolox_det.py',
    '../_base_/datasets/voc.py',
    '../_base_/schedules/yolox_300e.py',
    '../_base_/default_runtime.py',
]
task = 'det'
augment, img_size, scale, mosaic_prob, mixup_prob = _base_.recipes[_base_.size]
