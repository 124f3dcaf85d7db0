"""D-FINE with a mask for each object, which RF-DETR's mask head (https://arxiv.org/abs/2511.09554) predicts."""

_base_ = './dfine.py'

model = dict(
    head=dict(
        type='DFINESegmentHead',
        mask_stride=4,
        loss_mask=dict(type='MaskFocalLoss', loss_weight=5.0, alpha=None, gamma=0.0),  # cross entropy
        loss_dice=dict(type='MaskDiceLoss', loss_weight=5.0),
    )
)
