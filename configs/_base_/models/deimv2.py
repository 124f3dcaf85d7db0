"""DEIMv2 (https://arxiv.org/abs/2509.20787) with HGNetV2, whose sizes are in all of its configs: ``size=pico``.

Images are stretched to a square; pixels are divided by 255. The larger sizes are left out, as their backbones come from
DINOv3, whose licence is not an open-source one.
"""

_block = dict(type='RepNCSPELAN4', expansion=0.34)
_lite = dict(type='LiteEncoder', deepen_factor=0.5, block=_block)
_hybrid = dict(
    type='HybridEncoder',
    feedforward_dims=512,
    deepen_factor=0.5,
    block=_block,
    linear_reduce=True,
    downsample=dict(type='SCDown', act=None),
    fuse='sum',
)
# By size: the backbone, its maps, the encoder, channels of all maps and queries, width of the decoder's linear layers,
# queries, points in each map; and whether there are gates, MLPs of edges for each layer, and losses of distributions
# and of the matches of all layers.
sizes = dict(
    atto=('Atto', (3,), _lite, 64, 160, 100, (4, 2), False),
    femto=('Femto', (3,), _lite, 96, 256, 150, (4, 2), False),
    pico=('Pico', (3,), _lite, 112, 320, 200, (4, 2), False),
    n=('B0', (3, 4), _hybrid, 128, 512, 300, (6, 6), True),
)
size = 'n'
arch, out_indices, encoder, embed_dims, feedforward_dims, num_queries, num_points, full = sizes[size]
pretrained = None

model = dict(
    type='SingleStageDetector',
    data_preprocessor=dict(type='DetDataPreprocessor'),
    backbone=dict(type='HGNetV2', arch=arch, lab=True, out_indices=out_indices, weights=pretrained),
    neck=dict(out_channels=embed_dims, **encoder),
    head=dict(
        type='DFINEHead',
        num_queries=num_queries,
        num_denoising=100,
        act='SiLU',
        project_cells=False,
        unite_matches=full,
        edge_losses=full,
        decoder=dict(
            type='DistributionDecoder',
            embed_dims=embed_dims,
            num_heads=8,
            num_layers=3,
            num_points=num_points,
            feedforward_dims=feedforward_dims,
            reg_max=32,
            up=0.5,
            reg_scale=4.0,
            act='SiLU',
            feedforward_act='SwiGLU',
            norm='RMS',
            gated=full,
            share_edge_mlp=not full,
            fixed_positions=True,
            num_position_layers=3,
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
        loss_cls=dict(type='MatchabilityAwareLoss', alpha=1.0, gamma=1.5),
        loss_bbox=dict(type='L1Loss', loss_weight=5.0),
        loss_iou=dict(type='IoULoss', mode='giou', loss_weight=2.0, eps=1e-12),
        loss_dfl=dict(type='DistributionFocalLoss', loss_weight=0.6),
        loss_distill=dict(type='DistillationLoss', loss_weight=1.5, temperature=5.0),
        test_cfg=dict(score_thr=0.0, max_per_img=300),
    ),
    batch_norm=dict(eps=1e-5, momentum=0.1),
)
