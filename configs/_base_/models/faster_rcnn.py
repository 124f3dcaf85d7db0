"""Faster R-CNN (https://arxiv.org/abs/1506.01497) with FPN as torchvision has it: ``--cfg-options size=r50_v2``.

The backbone starts from ImageNet weights. ``backbone`` takes any other, whose maps the neck makes a pyramid of;
``pretrained=None`` downloads nothing, for runs whose ``load_from`` holds all weights.
"""

# By size: the backbone, whether it is version 2 (batch normalisation everywhere, deeper heads), the maps that the neck
# returns, the anchors, and the lowest score of a proposal.
_resnet = dict(type='ResNet', out_indices=(1, 2, 3, 4))
_mobilenet = dict(type='MobileNetV3', out_indices=(13, 16))
_pyramid = dict(type='SizeRatioAnchorGenerator', scales=(8,), ratios=(0.5, 1.0, 2.0))
_every_size = dict(type='SizeRatioAnchorGenerator', sizes=[(32, 64, 128, 256, 512)] * 3, ratios=(0.5, 1.0, 2.0))
sizes = dict(
    r18=(dict(_resnet, depth=18), False, 5, _pyramid, 0.0),
    r18_v2=(dict(_resnet, depth=18), True, 5, _pyramid, 0.0),
    r34=(dict(_resnet, depth=34), False, 5, _pyramid, 0.0),
    r50=(dict(_resnet, depth=50), False, 5, _pyramid, 0.0),
    r50_v2=(dict(_resnet, depth=50), True, 5, _pyramid, 0.0),
    r101=(dict(_resnet, depth=101), False, 5, _pyramid, 0.0),
    mobilenet=(_mobilenet, False, 3, _every_size, 0.05),
    mobilenet_320=(_mobilenet, False, 3, _every_size, 0.05),  # for images of 320 pixels, with fewer proposals
)
size = 'r50'
backbone, second, num_outs, anchors, proposal_score_thr = sizes[size]
pretrained = 'IMAGENET1K_V1'
# The first stages that keep their weights, beside the stem: 0 for the stem alone, -1 for none.
frozen_stages = -1 if second else 2 if backbone['type'] == 'MobileNetV3' else 1
backbone_norm = 'bn' if second else 'frozen'  # or 'sync': statistics over the batches of all processes
norm_eps = None  # of the normalisation; 0 for torchvision's first published weights
neck_channels = 256
roi_channels = 256  # of the convolutions that look at regions
fc_channels = 1024
num_proposals = (2000, 150 if size == 'mobilenet_320' else 1000)  # of an image, in training and in prediction
mask_head = None
keypoint_head = None

model = dict(
    type='TwoStageDetector',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
        zero_padding=True,
    ),
    backbone=dict(**backbone, frozen_stages=frozen_stages, norm=backbone_norm, weights=pretrained),
    neck=dict(type='FPN', out_channels=neck_channels, num_outs=num_outs, norm='bn' if second else None),
    head=dict(
        type='TwoStageHead',
        rpn_head=dict(
            type='RPNHead',
            num_convs=2 if second else 1,
            prior_generator=anchors,
            assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3, match_low_quality=True),
            prior_sampler=dict(type='RandomPriorSampler', num=256, pos_fraction=0.5),
            loss_cls=dict(type='BinaryCrossEntropyLoss'),
            loss_bbox=dict(type='SmoothL1Loss', beta=1 / 9),
            proposals=dict(nms_pre=num_proposals, max_per_img=num_proposals, iou_thr=0.7, score_thr=proposal_score_thr),
        ),
        bbox_head=dict(
            type='BBoxRoIHead',
            roi_extractor=dict(type='RoIAlignExtractor', out_size=7, sampling_ratio=2),
            num_convs=4 if second else 0,
            conv_channels=roi_channels,
            norm='bn' if second else None,
            num_fcs=1 if second else 2,
            fc_channels=fc_channels,
            assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5),
            prior_sampler=dict(type='RandomPriorSampler', num=512, pos_fraction=0.25),
            bbox_coder=dict(type='DeltaBBoxCoder', stds=(0.1, 0.1, 0.2, 0.2)),
            loss_cls=dict(type='CrossEntropyLoss'),
            loss_bbox=dict(type='SmoothL1Loss', beta=1 / 9),
        ),
        mask_head=mask_head,
        keypoint_head=keypoint_head,
        test_cfg=dict(score_thr=0.05, iou_thr=0.5, max_per_img=100),
    ),
    batch_norm=None if norm_eps is None else dict(eps=norm_eps),
)
