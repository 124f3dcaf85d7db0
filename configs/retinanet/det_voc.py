"""RetinaNet on PASCAL VOC (https://arxiv.org/abs/1708.02002).

There is no published result. Train with
    python tools/train.py configs/retinanet/det_voc.py --cfg-options data_root=/data/VOCdevkit
"""

_base_ = [
    '../_base_/models/retinanet.py',
    '../_base_/datasets/voc_detection.py',
    '../_base_/schedules/schedule_1x.py',
    '../_base_/fpn_runtime.py',
]
task = 'det'
base_lr = 0.01
