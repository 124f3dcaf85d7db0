"""RT-DETR's schedule on COCO: 72 epochs, AdamW at 1e-4, a tenth of that for the backbone, without a drop of the rate.

A step has 16 images, as 4 batches of 4. The last 3 epochs have neither zoom-out, nor crops, nor distorted colours.
"""

_base_ = './detr_300e.py'

max_epochs = 72
backbone_lr_mult = 0.1
warmup_iters = 0  # batches; RT-DETRv2 has 2000

optim_wrapper = dict(
    accumulate=4,
    paramwise_cfg=dict(_delete_=True, lr_mult={'backbone': backbone_lr_mult}),
)
param_scheduler = dict(
    _delete_=True,
    type='WarmupDecay',
    warmup_epochs=1 if warmup_iters else 0,
    warmup_max_iters=warmup_iters or None,
    warmup_bias_lr='weights',
    warmup_momentum=None,
    decay='constant',
)
default_hooks = dict(
    ema=dict(type='EMAHook', decay=0.9999, tau=2000),
    close_transforms=dict(
        type='CloseTransformsHook',
        num_epochs=3,
        names=['RandomPhotometricDistort', 'RandomZoomOut', 'RandomIoUCrop'],
    ),
)
