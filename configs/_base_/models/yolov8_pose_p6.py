"""YOLOv8 pose with a fourth level of stride 64, for large images. ``head.keypoint_shape`` is wired from the data."""

_base_ = './yolov8_det_p6.py'

model = dict(
    head=dict(
        type='YOLOv8PoseHead',
        loss_keypoint=dict(type='KeypointLoss', loss_weight=12.0),
        loss_visibility=dict(type='KeypointVisibilityLoss', loss_weight=1.0),
    )
)
