"""DETR with its mask head, which reads all of the backbone's feature maps."""

_base_ = './detr.py'

model = dict(
    backbone=dict(out_indices=(1, 2, 3, 4)),
    head=dict(
        type='DETRSegmentHead',
        loss_mask=dict(type='MaskFocalLoss', loss_weight=1.0),
        loss_dice=dict(type='MaskDiceLoss', loss_weight=1.0),
    ),
)
