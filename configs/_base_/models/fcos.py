"""FCOS (https://arxiv.org/abs/1904.01355) as torchvision has it; ``--cfg-options size=r101`` in its configs.

The backbone starts from ImageNet weights; its normalisation and its first layers keep them. ``backbone`` takes any
other that returns maps of strides 8, 16 and 32; ``pretrained=None`` downloads nothing.
"""

# By size: the depth of the ResNet.
sizes = dict(r18=18, r34=34, r50=50, r101=101)
size = 'r50'
pretrained = 'IMAGENET1K_V1'
frozen_stages = 1  # the stem and the first stage keep their weights; 0 freezes the stem alone, -1 nothing
backbone_norm = 'frozen'  # 'bn' trains it; 'sync' takes statistics over the batches of all processes

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
        depth=sizes[size],
        out_indices=(2, 3, 4),
        frozen_stages=frozen_stages,
        norm=backbone_norm,
        weights=pretrained,
    ),
    neck=dict(type='FPN', out_channels=256, num_outs=5, add_extra_convs='on_output'),
    head=dict(
        type='FCOSHead',
        loss_cls=dict(type='BinaryFocalLoss', gamma=2.0, alpha=0.25),
        loss_bbox=dict(type='IoULoss', mode='giou'),
        loss_centerness=dict(type='BinaryCrossEntropyLoss'),
        test_cfg=dict(score_thr=0.2, iou_thr=0.6, nms_pre=1000, max_per_img=100),
    ),
)
