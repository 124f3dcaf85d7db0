"""DETR on ResNet-50 with its mask head, which takes all of the backbone's maps."""

_base_ = './detr_r50.py'

model = dict(
    backbone=dict(out_indices=(1, 2, 3, 4)),
    head=dict(
        type='DETRSegmentHead',
        loss_mask=dict(type='MaskFocalLoss', loss_weight=1.0),
        loss_dice=dict(type='MaskDiceLoss', loss_weight=1.0),
    ),
)
