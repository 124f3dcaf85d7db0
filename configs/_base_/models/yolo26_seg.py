"""YOLO26 instance segmentation: the detector with mask coefficients, prototypes of all levels and a semantic loss."""

_base_ = './yolo26_det.py'

model = dict(
    head=dict(
        type='YOLO26SegmentHead',
        assigner=dict(type='MaskTaskAlignedAssigner'),
        one_assigner=dict(type='MaskTaskAlignedAssigner'),
        loss_mask=dict(type='ProtoMaskLoss', loss_weight=7.5),
        loss_semantic=dict(type='MaskFocalLoss', alpha=None, gamma=0.0, loss_weight=3.75),
        loss_semantic_dice=dict(type='MaskDiceLoss', loss_weight=3.75),
    )
)
