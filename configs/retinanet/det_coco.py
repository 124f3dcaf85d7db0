"""RetinaNet on COCO by torchvision's recipe (https://arxiv.org/abs/1708.02002).

Expected box mAP on val2017, torchvision's: r50 36.4, r50_v2 41.5. Train with
    python tools/train.py configs/retinanet/det_coco.py --cfg-options data_root=/data/coco
"""

_base_ = [
    '../_base_/models/retinanet.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_26e.py',
    '../_base_/fpn_runtime.py',
]
task = 'det'
base_lr = 0.01
