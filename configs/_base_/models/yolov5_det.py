"""YOLOv5 detection (https://docs.ultralytics.com/models/yolov5): ``--cfg-options size=m``, in any of its configs.

The anchors (width, height in pixels, fine to coarse) are those of the published models, made for COCO at 640 pixels;
tools/analyze/optimize_anchors.py finds those of other data.
"""

# By size: deepen_factor, widen_factor.
sizes = dict(
    n=(0.33, 0.25),
    s=(0.33, 0.50),
    m=(0.67, 0.75),
    l=(1.00, 1.00),
    x=(1.33, 1.25),
)
size = 'n'
deepen_factor, widen_factor = sizes[size]
max_channels = 1024

model = dict(
    type='SingleStageDetector',
    data_preprocessor=dict(type='DetDataPreprocessor'),
    backbone=dict(
        type='CSPDarknet',
        deepen_factor=deepen_factor,
        widen_factor=widen_factor,
        max_channels=max_channels,
        stem_kernel_size=6,
        stage_blocks=(3, 6, 9, 3),
        block=dict(type='C3', shortcut=True),
    ),
    neck=[dict(type='SPP'), dict(type='PAN', deepen_factor=deepen_factor, block=dict(type='C3'), reduce=True)],
    head=dict(
        type='YOLOv5Head',
        anchors=[
            [(10, 13), (16, 30), (33, 23)],
            [(30, 61), (62, 45), (59, 119)],
            [(116, 90), (156, 198), (373, 326)],
        ],
        assigner=dict(type='YOLOv5AnchorAssigner', max_ratio=4.0),
        bbox_coder=dict(type='YOLOv5BBoxCoder'),
        loss_bbox=dict(type='IoULoss', mode='ciou', loss_weight=0.05),
        loss_obj=dict(type='BinaryCrossEntropyLoss', loss_weight=1.0),  # times (img_size / 640)²
        loss_cls=dict(type='BinaryCrossEntropyLoss', label_smoothing=0.0, loss_weight=0.5),  # times num_classes / 80
        obj_level_weights=(4.0, 1.0, 0.4),
        test_cfg=dict(
            score_thr=0.001,
            nms_pre=30000,
            iou_thr=0.6,
            max_per_img=300,
            multi_label=True,
            class_agnostic=False,
        ),
    ),
)
