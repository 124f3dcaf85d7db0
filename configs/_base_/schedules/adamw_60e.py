"""A modern schedule: 60 epochs of AdamW at 1e-3 with warm-up, cosine decay, clipped gradients and averaged weights."""

max_epochs = 60

train_cfg = dict(type='TrainLoop', max_epochs=max_epochs, val_interval=1, freeze=[])
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='AccumulatingOptimWrapper',
    constructor='GroupOptimConstructor',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.999), weight_decay=0.05),
    accumulate=1,
    clip_grad_norm=10.0,
    reduction='mean',
    amp=True,  # False, 'bf16' or 'fp16'
)
param_scheduler = dict(type='WarmupDecay', warmup_epochs=3, decay='cosine', final_factor=0.01, by_epoch=False)

default_hooks = dict(
    ema=dict(type='EMAHook', decay=0.999, tau=200),
    close_mosaic=None,
    early_stopping=None,
    console=dict(type='ConsoleHook', one_line=True),
)
