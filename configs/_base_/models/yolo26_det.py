"""YOLO26 detection (https://arxiv.org/abs/2606.03748): no distributions of distances, and no suppression."""

_base_ = './yolo11_sizes.py'

neck_channels = (256, 512, 1024)  # of each level, before the factor
pooling_shortcut = True  # around the pyramid pooling

model = dict(
    type='SingleStageDetector',
    data_preprocessor=dict(type='DetDataPreprocessor'),
    backbone=_base_.backbone,
    neck=[
        dict(type='SPP', linear_in=True, shortcut=pooling_shortcut),
        _base_.attention,
        dict(
            type='PAN',
            out_channels=neck_channels,
            widen_factor=_base_.widen_factor,
            max_channels=_base_.max_channels,
            num_blocks=2,
            deepen_factor=_base_.deepen_factor,
            block=dict(type='C3k2', inner='c3k'),
            last_block=dict(inner='attention', num_blocks=1),
        ),
    ],
    head=dict(
        type='YOLO26Head',
        reg_max=1,
        depthwise_cls=True,
        bbox_bias=2.0,
        assigner=dict(type='TaskAlignedAssigner', topk=10, alpha=0.5, beta=6.0),
        one_assigner=dict(type='TaskAlignedAssigner', topk=7, alpha=0.5, beta=6.0, keep=1),
        bbox_coder=dict(type='DistancePointBBoxCoder', reg_max=1),
        loss_cls=dict(type='BinaryCrossEntropyLoss', loss_weight=0.5),
        loss_bbox=dict(type='IoULoss', mode='ciou', loss_weight=7.5),
        loss_dfl=dict(type='L1Loss', loss_weight=0.375),  # of the sum over four sides: 1.5 of the mean
        test_cfg=dict(score_thr=0.001, max_per_img=300, multi_label=True),
    ),
)
