"""YOLOv10 detection (https://arxiv.org/abs/2405.14458): ``--cfg-options size=m``, in any of its configs."""

# By size: deepen_factor, widen_factor, max_channels, the positions whose block is C2fCIB: of the backbone 'stage3' and
# 'stage4', of the neck 'up' (its first block), 'down' and 'last'; and whether these blocks have a large kernel.
sizes = dict(
    n=(0.33, 0.25, 1024, ('last',), True),
    s=(0.33, 0.50, 1024, ('stage4', 'last'), True),
    m=(0.67, 0.75, 768, ('stage4', 'down', 'last'), False),
    b=(0.67, 1.00, 512, ('stage4', 'up', 'down', 'last'), False),
    l=(1.00, 1.00, 512, ('stage4', 'up', 'down', 'last'), False),
    x=(1.00, 1.25, 512, ('stage3', 'stage4', 'up', 'down', 'last'), False),
)
size = 'n'
deepen_factor, widen_factor, max_channels, compact, large_kernel = sizes[size]

_stage = dict(type='C2f', shortcut=True)
_plain = dict(type='C2f')
_compact = dict(type='C2fCIB', large_kernel=large_kernel)

model = dict(
    type='SingleStageDetector',
    data_preprocessor=dict(type='DetDataPreprocessor'),
    backbone=dict(
        type='CSPDarknet',
        deepen_factor=deepen_factor,
        widen_factor=widen_factor,
        max_channels=max_channels,
        block=[
            _stage,
            _stage,
            _compact if 'stage3' in compact else _stage,
            _compact if 'stage4' in compact else _stage,
        ],
        downsample=[None, None, dict(type='SCDown'), dict(type='SCDown')],
    ),
    neck=[
        dict(type='SPP'),
        dict(type='LastBlock', num_blocks=1, block=dict(type='C2PSA')),
        dict(
            type='PAN',
            out_channels=(256, 512, 1024),
            widen_factor=widen_factor,
            max_channels=max_channels,
            deepen_factor=deepen_factor,
            block=[
                _compact if 'up' in compact else _plain,
                _plain,
                _compact if 'down' in compact else _plain,
                _compact if 'last' in compact else _plain,
            ],
            downsample=[None, dict(type='SCDown')],
        ),
    ],
    head=dict(
        type='YOLOv10Head',
        reg_max=16,
        depthwise_cls=True,
        bbox_bias=2.0,
        many_weight=0.5,
        assigner=dict(type='TaskAlignedAssigner', topk=10, alpha=0.5, beta=6.0),
        one_assigner=dict(type='TaskAlignedAssigner', topk=1, alpha=0.5, beta=6.0),
        bbox_coder=dict(type='DistancePointBBoxCoder', reg_max=16),
        # Twice YOLOv8's: the mean over both assignments is then the sum of their losses.
        loss_cls=dict(type='BinaryCrossEntropyLoss', loss_weight=1.0),
        loss_bbox=dict(type='IoULoss', mode='ciou', loss_weight=15.0),
        loss_dfl=dict(type='DistributionFocalLoss', loss_weight=3.0),
        test_cfg=dict(score_thr=0.001, max_per_img=300, multi_label=True),
    ),
)
