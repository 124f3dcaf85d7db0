"""The network of RF-DETR (https://arxiv.org/abs/2511.09554), of the size n; ``rfdetr.py`` has the others."""

side = 384  # of the images in pixels
num_layers = 2  # of the decoder
num_queries = 300
num_windows = 2  # along each side of an image
patch_size = 16
pretrained = None

model = dict(
    type='SingleStageDetector',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
        # Ten sides, a window's patches apart.
        multi_scale=(1 - 5 * patch_size * num_windows / side, 1 + 5 * patch_size * num_windows / side),
        multi_scale_interval=None,
        size_divisor=patch_size * num_windows,
    ),
    backbone=dict(
        type='WindowedViT',
        embed_dims=384,
        depth=12,
        num_heads=6,
        patch_size=patch_size,
        num_windows=num_windows,
        table_size=side // patch_size,
        global_blocks=(3, 6, 9),
        out_indices=(3, 6, 9, 12),
        weights=pretrained,
    ),
    neck=dict(type='MultiScaleProjector', out_channels=256, num_blocks=3),
    head=dict(
        type='RFDETRHead',
        num_queries=num_queries,
        num_groups=13,
        decoder=dict(
            type='LiteDecoder',
            embed_dims=256,
            num_heads=8,
            cross_heads=16,
            num_layers=num_layers,
            num_points=2,
            feedforward_dims=2048,
        ),
        assigner=dict(
            type='HungarianAssigner',
            match_costs=[
                dict(type='FocalClassCost', weight=2.0),
                dict(type='BBoxL1Cost', weight=5.0),
                dict(type='GIoUCost', weight=2.0),
            ],
        ),
        bbox_coder=dict(type='RelativeBBoxCoder'),
        loss_cls=dict(type='IoUAwareBCELoss', trust=0.25, gamma=2.0),
        loss_bbox=dict(type='L1Loss', loss_weight=5.0),
        loss_iou=dict(type='IoULoss', mode='giou', loss_weight=2.0, eps=1e-12),
        test_cfg=dict(score_thr=0.0, max_per_img=num_queries),
    ),
)
