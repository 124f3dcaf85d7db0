"""The names of the parameters of torchvision's detectors, and of the same detectors here."""

from __future__ import annotations

from detkit.converters.common import KeyTable, Rows

_BODY: Rows = (
    ('backbone.body.{}', 'backbone.features.{}'),  # MobileNetV3, whose modules have numbers
    ('backbone.body', 'backbone'),
    ('backbone.fpn.inner_blocks.{}', 'neck.0.lateral_convs.{}'),
    ('backbone.fpn.layer_blocks.{}', 'neck.0.fpn_convs.{}'),
    ('backbone.fpn.extra_blocks.p6', 'neck.0.extra_convs.0'),
    ('backbone.fpn.extra_blocks.p7', 'neck.0.extra_convs.1'),
)
_DENSE: Rows = (
    ('head.classification_head.cls_logits', 'head.conv_cls'),
    ('head.regression_head.bbox_reg', 'head.conv_bbox'),
    ('head.regression_head.bbox_ctrness', 'head.conv_centerness'),
)
_RETINANET: Rows = (
    ('head.classification_head.conv.{}', 'head.class_convs.{}'),
    ('head.regression_head.conv.{}', 'head.bbox_convs.{}'),
)
# FCOS counts convolutions, normalisations and activations in one sequence.
_FCOS: Rows = tuple(
    (f'head.{theirs}.conv.{3 * index + part}', f'head.{ours}.{index}.{part}')
    for theirs, ours in (('classification_head', 'class_convs'), ('regression_head', 'bbox_convs'))
    for index in range(4)
    for part in range(2)
)
_RCNN: Rows = (
    ('rpn.head.conv.{}', 'head.rpn_head.convs.{}'),
    ('rpn.head.cls_logits', 'head.rpn_head.conv_objectness'),
    ('rpn.head.bbox_pred', 'head.rpn_head.conv_bbox'),
    ('roi_heads.box_head.fc6', 'head.bbox_head.shared_fcs.0'),
    ('roi_heads.box_head.fc7', 'head.bbox_head.shared_fcs.1'),
    ('roi_heads.box_predictor.cls_score', 'head.bbox_head.fc_cls'),
    ('roi_heads.box_predictor.bbox_pred', 'head.bbox_head.fc_bbox'),
    ('roi_heads.mask_head.{}', 'head.mask_head.convs.{}'),
    ('roi_heads.mask_predictor.conv5_mask', 'head.mask_head.upsample'),
    ('roi_heads.mask_predictor.mask_fcn_logits', 'head.mask_head.conv_mask'),
    # convolutions and activations in one sequence
    *((f'roi_heads.keypoint_head.{2 * index}', f'head.keypoint_head.convs.{index}.0') for index in range(8)),
    ('roi_heads.keypoint_predictor.kps_score_lowres', 'head.keypoint_head.upsample'),
)
# Version 2 has four convolutions and one linear layer.
_RCNN_V2: Rows = (
    *((f'roi_heads.box_head.{index}', f'head.bbox_head.shared_convs.{index}') for index in range(4)),
    ('roi_heads.box_head.5', 'head.bbox_head.shared_fcs.0'),
    *_RCNN,
)

# By family.
TORCHVISION_KEYS = {
    'retinanet': KeyTable((*_BODY, *_DENSE, *_RETINANET)),
    'fcos': KeyTable((*_BODY, *_DENSE, *_FCOS)),
    'rcnn': KeyTable((*_BODY, *_RCNN)),
    'rcnn_v2': KeyTable((*_BODY, *_RCNN_V2)),
}
