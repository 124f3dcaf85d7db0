"""YOLOv3 on Darknet-53.

The anchors (width, height in pixels, fine to coarse) are those of the published models, made for COCO at 416 pixels;
tools/analyze/optimize_anchors.py finds those of other data.
"""

model = dict(
    type='SingleStageDetector',
    data_preprocessor=dict(type='DetDataPreprocessor'),
    backbone=dict(
        type='Darknet',
        depth=53,
        weights=None,  # darknet53.conv.74, as tools/convert.py darknet converts it
    ),
    neck=dict(type='YOLOv3Neck'),
    head=dict(
        type='YOLOv3Head',
        anchors=[
            [(10, 13), (16, 30), (33, 23)],
            [(30, 61), (62, 45), (59, 119)],
            [(116, 90), (156, 198), (373, 326)],
        ],
        assigner=dict(type='YOLOv3AnchorAssigner', iou_thr=0.2),
        bbox_coder=dict(type='YOLOv3BBoxCoder'),
        # For focal loss: type='BinaryFocalLoss', gamma=1.5, alpha=0.25.
        loss_bbox=dict(type='IoULoss', mode='giou', loss_weight=3.54),
        loss_obj=dict(type='BinaryCrossEntropyLoss', loss_weight=64.3),  # times img_size / 320
        loss_cls=dict(type='BinaryCrossEntropyLoss', label_smoothing=0.0, loss_weight=37.4),  # times num_classes / 80
        test_cfg=dict(
            score_thr=0.01,
            nms_pre=30000,
            iou_thr=0.6,
            max_per_img=300,
            multi_label=False,  # the best class alone
            class_agnostic=False,
        ),
    ),
    batch_norm=dict(eps=1e-6, momentum=0.03),  # eps as in Darknet, so that its weights give the same outputs
)
