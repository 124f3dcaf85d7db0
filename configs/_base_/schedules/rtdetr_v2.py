"""RT-DETRv2's schedule on COCO: that of RT-DETR after a warm-up of 2000 batches (https://arxiv.org/abs/2407.17140)."""

_base_ = './rtdetr_72e.py'

warmup_iters = 2000
