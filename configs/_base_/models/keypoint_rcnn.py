"""Keypoint R-CNN (https://arxiv.org/abs/1703.06870, section 5): Faster R-CNN with keypoints, in the same sizes."""

_base_ = './faster_rcnn.py'

keypoint_channels = 512
keypoint_head = dict(
    type='KeypointRoIHead',
    roi_extractor=dict(type='RoIAlignExtractor', out_size=14, sampling_ratio=2),
    num_convs=8,
    conv_channels=keypoint_channels,
    loss_keypoint=dict(type='CrossEntropyLoss'),
)
