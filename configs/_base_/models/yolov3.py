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
        test_cfg=dict(
            score_thr=0.01,
            nms_pre=30000,
            iou_thr=0.6,
            max_per_img=300,
            multi_label=False,  # the best class alone
            class_agnostic=False,
        ),
    ),
    batch_norm=dict(eps=1e-5, momentum=0.03),  # eps as in Darknet, for weights of either
)
