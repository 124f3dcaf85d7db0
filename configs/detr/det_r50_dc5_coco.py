"""DETR-DC5 with ResNet-50 on COCO: the last stage dilated, a map twice as fine. Paper: https://arxiv.org/abs/2005.12872.

Expected on val2017: 43.3 box mAP after 500 epochs (published; max_epochs=500 lr_drop=400). Train with
    python tools/train.py configs/detr/det_r50_dc5_coco.py --cfg-options data_root=/data/coco
"""

_base_ = './det_r50_coco.py'

model = dict(backbone=dict(dilate_last=True))
