"""YOLO-World detection (https://arxiv.org/abs/2401.17270): YOLOv8 whose neck and head take texts.

``version=1`` has image pooling attention and cells of length 1, as the paper's first version; the sizes are YOLOv8's
from s on. The text encoder is named by ``text_encoder``.
"""

# By size: deepen_factor, widen_factor, max_channels.
sizes = dict(
    s=(0.33, 0.50, 1024),
    m=(0.67, 0.75, 768),
    l=(1.00, 1.00, 512),
    x=(1.00, 1.25, 512),
)
size = 's'
deepen_factor, widen_factor, max_channels = sizes[size]
version = 2
text_encoder = dict(type='NgramTextEncoder')

model = dict(
    type='OpenVocabularyDetector',
    text_encoder=text_encoder,
    data_preprocessor=dict(type='DetDataPreprocessor'),
    backbone=dict(
        type='CSPDarknet',
        deepen_factor=deepen_factor,
        widen_factor=widen_factor,
        max_channels=max_channels,
    ),
    neck=[
        dict(type='SPP'),
        dict(
            type='TextPAN',
            deepen_factor=deepen_factor,
            image_pooling=dict(embed_dims=256, num_heads=8) if version == 1 else None,
        ),
    ],
    head=dict(
        type='YOLOWorldHead',
        reg_max=16,
        embed_norm='L2' if version == 1 else 'BN',
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
