"""YOLO26 pose: the detector with keypoints and their deviations. ``head.keypoint_shape`` is wired from the data."""

_base_ = './yolo26_det.py'

model = dict(
    head=dict(
        type='YOLO26PoseHead',
        assigner=dict(type='KeypointTaskAlignedAssigner'),
        one_assigner=dict(type='KeypointTaskAlignedAssigner'),
        loss_keypoint=dict(type='KeypointLoss', loss_weight=12.0),
        loss_visibility=dict(type='KeypointVisibilityLoss', loss_weight=1.0),
        loss_rle=dict(type='RLELoss', loss_weight=1.0),
    )
)
