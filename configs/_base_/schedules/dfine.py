"""D-FINE's schedule (https://arxiv.org/abs/2410.13842): AdamW at a flat rate, strong augmentation until near the end.

Published for 32 images a step, 128 in N. Each process takes a step with its ``batch_size`` images;
``optim_wrapper.accumulate=8`` averages the gradients of 8 batches. A leaf chooses the ``recipe`` of its size.
"""

# By size: the rate, the backbone's share of it, weight decay, epochs, and those of them without strong augmentation.
recipes = dict(
    n=(8e-4, 0.5, 1e-4, 160, 12),
    s=(2e-4, 0.5, 1e-4, 132, 12),
    m=(2e-4, 0.1, 1e-4, 132, 12),
    l=(2.5e-4, 0.05, 1.25e-4, 80, 8),
    x=(2.5e-4, 0.01, 1.25e-4, 80, 8),
)
recipe = recipes['s']
max_epochs = recipe[3]
plain_epochs = recipe[4]
tail_epochs = plain_epochs if plain_epochs < max_epochs else 0  # at one size, and from the best weights

train_cfg = dict(type='TrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='AccumulatingOptimWrapper',
    constructor='GroupOptimConstructor',
    optimizer=dict(type='AdamW', lr=recipe[0], betas=(0.9, 0.999), weight_decay=recipe[2]),
    paramwise_cfg=dict(lr_mult={'backbone': recipe[1]}),
    accumulate=1,  # batches a step
    clip_grad_norm=0.1,
    reduction='mean',  # the losses are means over the boxes of all processes
    amp=True,
)
param_scheduler = dict(
    type='WarmupDecay',
    warmup_epochs=0.001,
    warmup_min_iters=500,
    warmup_bias_lr='weights',
    warmup_momentum=None,
    decay='constant',
)
default_hooks = dict(
    ema=dict(type='EMAHook', decay=0.9999, tau=1000),
    close_transforms=dict(
        type='CloseTransformsHook',
        num_epochs=plain_epochs,
        names=['RandomPhotometricDistort', 'RandomZoomOut', 'RandomIoUCrop'],
    ),
    close_multi_scale=dict(type='CloseMultiScaleHook', num_epochs=tail_epochs),
    ema_restart=dict(type='EMARestartHook', num_epochs=tail_epochs, decay=0.9999),
)
