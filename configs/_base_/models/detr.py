"""DETR (https://arxiv.org/abs/2005.12872). Its sizes are backbones: ``--cfg-options size=r101``, in any of its configs.

The backbone starts from ImageNet weights; its normalisation and its first layers keep them.

``pretrained=None`` downloads nothing, for runs whose ``load_from`` holds all weights.
"""

# By size: the depth of the ResNet, and whether its last stage is dilated instead of strided (DC5).
sizes = dict(
    r18=(18, False),
    r50=(50, False),
    r101=(101, False),
    r50_dc5=(50, True),
    r101_dc5=(101, True),
)
size = 'r50'
depth, dilate_last = sizes[size]
pretrained = 'IMAGENET1K_V1'

model = dict(
    type='DETR',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
        zero_padding=True,
    ),
    backbone=dict(
        type='ResNet',
        depth=depth,
        dilate_last=dilate_last,
        out_indices=(4,),
        frozen_stages=1,
        norm='frozen',
        weights=pretrained,
    ),
    head=dict(
        type='DETRHead',
        num_queries=100,
        transformer=dict(
            type='DETRTransformer',
            embed_dims=256,
            num_heads=8,
            num_encoder_layers=6,
            num_decoder_layers=6,
            feedforward_dims=2048,
            dropout=0.1,
        ),
        position_encoding=dict(type='SinePositionEncoding'),
        assigner=dict(
            type='HungarianAssigner',
            match_costs=[
                dict(type='ClassCost', weight=1.0),
                dict(type='BBoxL1Cost', weight=5.0),
                dict(type='GIoUCost', weight=2.0),
            ],
        ),
        bbox_coder=dict(type='RelativeBBoxCoder'),
        loss_cls=dict(type='CrossEntropyLoss', last_class_weight=0.1),
        loss_bbox=dict(type='L1Loss', loss_weight=5.0),
        loss_iou=dict(type='IoULoss', mode='giou', loss_weight=2.0, eps=1e-12),
        test_cfg=dict(score_thr=0.0, max_per_img=100),
    ),
)
