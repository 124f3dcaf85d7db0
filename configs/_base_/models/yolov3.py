"""YOLOv3 (https://arxiv.org/abs/1804.02767). Its sizes: ``--cfg-options size=tiny``, in any of its configs.

'full' is YOLOv3 on Darknet-53; 'spp' adds pools of 5, 9 and 13 to the coarsest convolutions of the neck
(https://arxiv.org/abs/1903.08589); 'tiny' has pooled 3x3 convolutions and two levels
(https://pjreddie.com/darknet/yolo). The anchors (width, height in pixels, fine to coarse) are those of the published
models, made for COCO at 416 pixels; tools/analyze/optimize_anchors.py finds those of other data.
"""

_anchors = [
    [(10, 13), (16, 30), (33, 23)],
    [(30, 61), (62, 45), (59, 119)],
    [(116, 90), (156, 198), (373, 326)],
]
_tiny_anchors = [[(10, 14), (23, 27), (37, 58)], [(81, 82), (135, 169), (344, 319)]]
# By size: Darknet's depth, the neck, and the anchors.
sizes = dict(
    full=(53, dict(type='YOLOv3Neck'), _anchors),
    spp=(53, dict(type='YOLOv3Neck', spp=dict(type='SPP', kernel_sizes=(5, 9, 13))), _anchors),
    tiny=('tiny', dict(type='YOLOv3Neck', out_channels=(256, 512), num_convs=(0, 1)), _tiny_anchors),
)
size = 'spp'
depth, neck, anchors = sizes[size]

model = dict(
    type='SingleStageDetector',
    data_preprocessor=dict(type='DetDataPreprocessor'),
    backbone=dict(
        type='Darknet',
        depth=depth,
        weights=None,  # darknet53.conv.74, as tools/convert.py darknet converts it
    ),
    neck=neck,
    head=dict(
        type='YOLOv3Head',
        anchors=anchors,
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
