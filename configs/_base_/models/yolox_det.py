"""YOLOX (https://arxiv.org/abs/2107.08430). Its sizes: ``--cfg-options size=tiny``, in any of its configs.

The network takes pixels from 0 to 255 as they are. Its first layer, a 6x6 convolution of stride 2, equals the authors'
stack of 2x2 pixels (Focus) and 3x3 convolution. The size 'darknet53' is YOLOv3-SPP's network with this head.
"""

# By size: deepen_factor, widen_factor, and whether 3x3 convolutions are depthwise ones with a 1x1 behind them.
sizes = dict(
    nano=(0.33, 0.25, True),
    tiny=(0.33, 0.375, False),
    s=(0.33, 0.50, False),
    m=(0.67, 0.75, False),
    l=(1.00, 1.00, False),
    x=(1.33, 1.25, False),
    darknet53=(1.00, 1.00, False),
)
# By size, what a recipe has: augmentation, side of images, factors and share of mosaics, share of averaged images.
_nano, _tiny = ('yolox', 416, (0.5, 1.5), 0.5, 0.0), ('yolox', 416, (0.5, 1.5), 1.0, 0.0)
_large = ('yolox', 640, (0.1, 2.0), 1.0, 1.0)
recipes = dict(nano=_nano, tiny=_tiny, s=_large, m=_large, l=_large, x=_large, darknet53=_large)
size = 's'
deepen_factor, widen_factor, depthwise = sizes[size]
# In training 320 to 640 pixels in place of 416, and 448 to 832 in place of 640.
multi_scale = {416: (0.769, 1.539), 640: (0.7, 1.3)}[recipes[size][1]]

_block = dict(type='C3', depthwise=depthwise)
_csp = dict(
    backbone=dict(
        type='CSPDarknet',
        deepen_factor=deepen_factor,
        widen_factor=widen_factor,
        stem_kernel_size=6,
        stage_blocks=(3, 9, 9, 0),
        block=dict(_block, shortcut=True),
        depthwise=depthwise,
    ),
    neck=[
        dict(type='SPP', kernel_sizes=(5, 9, 13)),
        dict(type='LastBlock', deepen_factor=deepen_factor, block=_block),
        dict(type='PAN', deepen_factor=deepen_factor, block=_block, reduce=True, depthwise=depthwise),
    ],
)
_darknet = dict(
    backbone=dict(type='Darknet', depth=53),
    neck=dict(type='YOLOv3Neck', final_conv=False, spp=dict(type='SPP', kernel_sizes=(5, 9, 13))),
)
_leaky = dict(type='LeakyReLU', negative_slope=0.1, inplace=True)
_head = dict(feat_channels=256, act=_leaky) if size == 'darknet53' else dict(depthwise=depthwise)

model = dict(
    type='SingleStageDetector',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        std=(1.0, 1.0, 1.0),
        multi_scale=multi_scale,
        multi_scale_interval=10,
        multi_scale_repeat=1,  # each multiple of 32 pixels is as likely
    ),
    **(_darknet if size == 'darknet53' else _csp),
    head=dict(
        type='YOLOXHead',
        **_head,
        assigner=dict(type='SimOTAAssigner', radius=1.5, topk=10, iou_weight=3.0),
        bbox_coder=dict(type='YOLOXBBoxCoder'),
        loss_bbox=dict(type='IoULoss', mode='iou', power=2.0, eps=1e-12, loss_weight=5.0),
        loss_obj=dict(type='BinaryCrossEntropyLoss', loss_weight=1.0),
        loss_cls=dict(type='BinaryCrossEntropyLoss', loss_weight=1.0),
        loss_l1=dict(type='L1Loss', loss_weight=0.0),  # 1 in the last epochs, see default_hooks.l1
        test_cfg=dict(
            score_thr=0.001,
            nms_pre=30000,
            iou_thr=0.65,
            max_per_img=300,
            multi_label=False,  # the best class alone
            class_agnostic=False,
        ),
    ),
)
