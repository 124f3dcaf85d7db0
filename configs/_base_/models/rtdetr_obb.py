"""RT-DETR for rotated boxes: the boxes of queries have an angle, which the selection and every decoder layer change."""

_base_ = './rtdetr.py'

model = dict(
    head=dict(
        type='RTDETROBBHead',
        decoder=dict(turn_points=True),  # the points of attention turn with the box
        assigner=dict(
            _delete_=True,
            type='RotatedHungarianAssigner',
            match_costs=[
                dict(type='FocalClassCost', weight=2.0),
                dict(type='BBoxL1Cost', weight=5.0),
                dict(type='ProbIoUCost', weight=2.0),
            ],
        ),
        bbox_coder=dict(_delete_=True, type='RelativeRBBoxCoder'),
        loss_iou=dict(_delete_=True, type='ProbIoULoss', extra_variance=0.01, loss_weight=2.0),
        loss_angle=dict(type='RotationLoss', loss_weight=1.0),
    )
)
