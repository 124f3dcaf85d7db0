"""Mask R-CNN (https://arxiv.org/abs/1703.06870) as torchvision has it: Faster R-CNN with masks, in the same sizes."""

_base_ = './faster_rcnn.py'

mask_head = dict(
    type='MaskRoIHead',
    roi_extractor=dict(type='RoIAlignExtractor', out_size=14, sampling_ratio=2),
    num_convs=4,
    conv_channels=_base_.roi_channels,
    norm='bn' if _base_.second else None,
    loss_mask=dict(type='MaskFocalLoss', alpha=None, gamma=0.0),  # cross entropy
)
