"""YOLO11 for rotated boxes: the detector with an angle a cell; a box's distances are measured in the rotated frame."""

_base_ = './yolo11_det.py'

model = dict(
    head=dict(
        type='YOLOv8OBBHead',
        assigner=dict(type='RotatedTaskAlignedAssigner'),
        bbox_coder=dict(type='RotatedDistanceCoder'),
        loss_bbox=dict(_delete_=True, type='ProbIoULoss', extra_variance=0.01, loss_weight=7.5),
        loss_angle=dict(type='RotationLoss', loss_weight=1.0),
        test_cfg=dict(
            score_thr=0.01,
            overlap='prob_iou',  # or 'iou', the exact overlap of the polygons
            greedy=False,  # True: only boxes that stay suppress others
        ),
    ),
)
