"""DETR with ResNet-50 on COCO. Paper: End-to-End Object Detection with Transformers, https://arxiv.org/abs/2005.12872.

Expected on val2017: 42.0 box mAP after 500 epochs (published; max_epochs=500 lr_drop=400). Train with
    tools/dist_train.sh configs/detr/det_r50_coco.py 8 --cfg-options data_root=/data/coco
or on one GPU, eight batches a step, with
    python tools/train.py configs/detr/det_r50_coco.py --cfg-options data_root=/data/coco optim_wrapper.accumulate=8
"""

_base_ = [
    '../_base_/models/detr_r50.py',
    '../_base_/datasets/coco_detr.py',
    '../_base_/schedules/detr_300e.py',
    '../_base_/default_runtime.py',
]

task = 'det'
