"""YOLO26 for rotated boxes: the detector with an angle a cell; a box's distances are measured in the rotated frame."""

_base_ = './yolo26_det.py'

model = dict(
    head=dict(
        type='YOLO26OBBHead',
        assigner=dict(type='RotatedTaskAlignedAssigner'),
        one_assigner=dict(type='RotatedTaskAlignedAssigner'),
        bbox_coder=dict(type='FreeAngleDistanceCoder'),
        loss_bbox=dict(_delete_=True, type='ProbIoULoss', extra_variance=0.01, loss_weight=7.5),
        loss_angle=dict(type='RotationLoss', loss_weight=1.0),
        test_cfg=dict(score_thr=0.01),
    )
)
