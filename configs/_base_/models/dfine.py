"""D-FINE (https://arxiv.org/abs/2410.13842), whose sizes are in all of its configs: ``--cfg-options size=n``.

Images are stretched to a square; pixels are divided by 255. Published weights of a backbone are a file:
``--cfg-options pretrained=PPHGNetV2_B0_stage1.pth``.
"""

# By size: the backbone, its maps; of the encoder the channels, width of its linear layers, width and depth of its
# blocks; of the decoder the channels, width of its linear layers, layers, points in each map, and scale of the bins.
sizes = dict(
    n=(dict(arch='B0', lab=True), (3, 4), 128, 512, 0.34, 0.5, 128, 512, 3, (6, 6), 4.0),
    s=(dict(arch='B0', lab=True), (2, 3, 4), 256, 1024, 0.5, 0.34, 256, 1024, 3, (3, 6, 3), 4.0),
    m=(dict(arch='B2', lab=True), (2, 3, 4), 256, 1024, 1.0, 0.67, 256, 1024, 4, (3, 6, 3), 4.0),
    l=(dict(arch='B4', norm='frozen', frozen_stages=0), (2, 3, 4), 256, 1024, 1.0, 1.0, 256, 1024, 6, (3, 6, 3), 4.0),
    x=(dict(arch='B5', norm='frozen', frozen_stages=0), (2, 3, 4), 384, 2048, 1.0, 1.0, 256, 1024, 6, (3, 6, 3), 8.0),
)
size = 's'
(
    backbone,
    out_indices,
    encoder_dims,
    encoder_feedforward_dims,
    expansion,
    deepen_factor,
    embed_dims,
    feedforward_dims,
    num_layers,
    num_points,
    reg_scale,
) = sizes[size]
pretrained = None
multi_scale_repeat = dict(n=None, s=20, m=6, l=4, x=3)[size]  # how often 640 is among the sizes of 480 to 800

model = dict(
    type='SingleStageDetector',
    # All sizes but N see images of 480 to 800 pixels in training.
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        multi_scale=None if size == 'n' else (0.75, 1.25),
        multi_scale_interval=None,
        multi_scale_repeat=multi_scale_repeat,
    ),
    backbone=dict(type='HGNetV2', out_indices=out_indices, weights=pretrained, **backbone),
    neck=dict(
        type='HybridEncoder',
        out_channels=encoder_dims,
        feedforward_dims=encoder_feedforward_dims,
        deepen_factor=deepen_factor,
        block=dict(type='RepNCSPELAN4', expansion=expansion),
        linear_reduce=True,
        downsample=dict(type='SCDown', act=None),
    ),
    head=dict(
        type='DFINEHead',
        num_queries=300,
        num_denoising=100,
        decoder=dict(
            type='DistributionDecoder',
            embed_dims=embed_dims,
            num_heads=8,
            num_layers=num_layers,
            num_points=num_points,
            feedforward_dims=feedforward_dims,
            reg_max=32,
            up=0.5,
            reg_scale=reg_scale,
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
        loss_dfl=dict(type='DistributionFocalLoss', loss_weight=0.6),
        loss_distill=dict(type='DistillationLoss', loss_weight=1.5, temperature=5.0),
        test_cfg=dict(score_thr=0.0, max_per_img=300),
    ),
    batch_norm=dict(eps=1e-5, momentum=0.1),
)
