"""RetinaNet (https://arxiv.org/abs/1708.02002) as torchvision has it; ``--cfg-options size=r50_v2`` in its configs.

The backbone starts from ImageNet weights. ``backbone`` takes any other that returns maps of strides 8, 16 and 32;
``pretrained=None`` downloads nothing, for runs whose ``load_from`` holds all weights.
"""

# By size: the depth of the ResNet, and whether it is version 2, with P6 from C5, GroupNorm and a GIoU loss.
sizes = dict(
    r18=(18, False),
    r18_v2=(18, True),
    r34=(34, False),
    r50=(50, False),
    r50_v2=(50, True),
    r101=(101, False),
)
size = 'r50'
depth, second = sizes[size]
pretrained = 'IMAGENET1K_V1'
frozen_stages = -1 if second else 1  # 1: the stem and the first stage keep their weights; 0: the stem; -1: nothing does
backbone_norm = 'bn' if second else 'frozen'  # or 'sync': statistics over the batches of all processes
norm_eps = None  # of the normalisation; 0 for torchvision's first published weights

model = dict(
    type='SingleStageDetector',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
        zero_padding=True,
    ),
    backbone=dict(
        type='ResNet',
        depth=depth,
        out_indices=(2, 3, 4),
        frozen_stages=frozen_stages,
        norm=backbone_norm,
        weights=pretrained,
    ),
    neck=dict(type='FPN', out_channels=256, num_outs=5, add_extra_convs='on_input' if second else 'on_output'),
    head=dict(
        type='RetinaHead',
        norm='gn' if second else None,
        loss_cls=dict(type='BinaryFocalLoss', gamma=2.0, alpha=0.25),
        loss_bbox=dict(type='IoULoss', mode='giou') if second else dict(type='L1Loss'),
        reg_decoded_bbox=second,
        test_cfg=dict(score_thr=0.05, iou_thr=0.5, nms_pre=1000, max_per_img=300),
    ),
    batch_norm=None if norm_eps is None else dict(eps=norm_eps),
)
