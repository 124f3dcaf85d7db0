"""YOLO11 pose: the detector with keypoints. ``head.keypoint_shape`` is wired from the data."""

_base_ = './yolo11_det.py'

model = dict(
    head=dict(
        type='YOLOv8PoseHead',
        loss_keypoint=dict(type='KeypointLoss', loss_weight=12.0),
        loss_visibility=dict(type='KeypointVisibilityLoss', loss_weight=1.0),
    )
)
