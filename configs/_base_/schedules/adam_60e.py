"""A plain schedule: 60 epochs of Adam at 1e-4, the rate constant, the weights not averaged."""

max_epochs = 60

train_cfg = dict(type='TrainLoop', max_epochs=max_epochs, val_interval=1, freeze=[])
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='AccumulatingOptimWrapper',
    constructor='GroupOptimConstructor',
    optimizer=dict(type='Adam', lr=1e-4),
    accumulate=1,
    clip_grad_norm=None,
    reduction='mean',
    amp=True,  # False, 'bf16' or 'fp16'
)
param_scheduler = dict(type='WarmupDecay', warmup_epochs=0, decay='constant')

default_hooks = dict(
    ema=None,
    close_mosaic=None,
    early_stopping=None,
    console=dict(type='ConsoleHook', one_line=True),
)
