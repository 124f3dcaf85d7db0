"""YOLO11 detection."""

_base_ = './yolo11_sizes.py'

model = dict(
    type='SingleStageDetector',
    data_preprocessor=dict(type='DetDataPreprocessor'),
    backbone=_base_.backbone,
    neck=[
        dict(type='SPP'),
        _base_.attention,
        dict(
            type='PAN',
            out_channels=(256, 512, 1024),
            widen_factor=_base_.widen_factor,
            max_channels=_base_.max_channels,
            num_blocks=2,
            deepen_factor=_base_.deepen_factor,
            block=dict(type='C3k2', inner=_base_.inner),
            last_block=dict(inner='c3k'),
        ),
    ],
    head=dict(
        type='YOLOv8Head',
        reg_max=16,
        depthwise_cls=True,
        bbox_bias=2.0,
        assigner=dict(type='TaskAlignedAssigner', topk=10, alpha=0.5, beta=6.0),
        bbox_coder=dict(type='DistancePointBBoxCoder', reg_max=16),
        loss_cls=dict(type='BinaryCrossEntropyLoss', loss_weight=0.5),
        loss_bbox=dict(type='IoULoss', mode='ciou', loss_weight=7.5),
        loss_dfl=dict(type='DistributionFocalLoss', loss_weight=1.5),
        test_cfg=dict(
            score_thr=0.001,
            nms_pre=30000,
            iou_thr=0.7,
            max_per_img=300,
            multi_label=True,
            class_agnostic=False,
        ),
    ),
)
