"""RT-DETR (https://arxiv.org/abs/2304.08069) and RT-DETRv2 (https://arxiv.org/abs/2407.17140), which share one network.

Its sizes are in all of its configs: ``--cfg-options size=r50``. Images are stretched to a square; pixels are divided by
255. Published weights of a backbone are a file: ``--cfg-options pretrained=resnet18d.pth``.
"""

# By size: the backbone, whether its normalisation and its stem keep their weights; the encoder's channels, the width of
# its linear layers and of its fusion blocks; decoder layers, and those of them that prediction runs (None: all).
sizes = dict(
    r18=(dict(type='ResNet', depth=18, variant='d'), False, 256, 1024, 0.5, 3, None),
    r34=(dict(type='ResNet', depth=34, variant='d'), False, 256, 1024, 0.5, 4, None),
    r50_m=(dict(type='ResNet', depth=50, variant='d'), True, 256, 1024, 0.5, 6, 3),
    r50=(dict(type='ResNet', depth=50, variant='d'), True, 256, 1024, 1.0, 6, None),
    r101=(dict(type='ResNet', depth=101, variant='d'), True, 384, 2048, 1.0, 6, None),
    hgnetv2_l=(dict(type='HGNetV2', arch='B4'), True, 256, 1024, 1.0, 6, None),
    hgnetv2_x=(dict(type='HGNetV2', arch='B5'), True, 384, 2048, 1.0, 6, None),
)
size = 'r50'
backbone, frozen, encoder_dims, encoder_feedforward_dims, expansion, num_layers, eval_layers = sizes[size]
pretrained = None
multi_scale = (0.75, 1.25)  # in training: of 640 pixels 480 to 800

model = dict(
    type='SingleStageDetector',
    data_preprocessor=dict(type='DetDataPreprocessor', multi_scale=multi_scale),
    backbone=dict(
        **backbone,
        frozen_stages=0 if frozen else -1,
        norm='frozen' if frozen else 'bn',
        weights=pretrained,
    ),
    neck=dict(
        type='HybridEncoder',
        out_channels=encoder_dims,
        feedforward_dims=encoder_feedforward_dims,
        block=dict(type='CSPRep', expansion=expansion),
    ),
    head=dict(
        type='RTDETRHead',
        num_queries=300,
        num_denoising=100,
        decoder=dict(
            type='DeformableDecoder',
            embed_dims=256,
            num_heads=8,
            num_layers=num_layers,
            num_points=4,
            feedforward_dims=1024,
            eval_layers=eval_layers,
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
        loss_cls=dict(type='VarifocalLoss', alpha=0.75, gamma=2.0),
        loss_bbox=dict(type='L1Loss', loss_weight=5.0),
        loss_iou=dict(type='IoULoss', mode='giou', loss_weight=2.0, eps=1e-12),
        test_cfg=dict(score_thr=0.0, max_per_img=300),
    ),
    batch_norm=dict(eps=1e-5, momentum=0.1),
)
