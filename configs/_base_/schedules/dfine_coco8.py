"""A short schedule from scratch for a set of a few images: one rate for all, a warm-up, and a decay to nothing."""

_base_ = './dfine.py'

max_epochs = 100
plain_epochs = 0

train_cfg = dict(val_interval=20)
optim_wrapper = dict(
    optimizer=dict(lr=4e-4),
    paramwise_cfg=dict(_delete_=True),
)
param_scheduler = dict(
    _delete_=True,
    type='WarmupDecay',
    warmup_epochs=5,
    decay='cosine',
    final_factor=0.01,
    by_epoch=False,
)
default_hooks = dict(
    ema=dict(type='EMAHook', decay=0.99, tau=100),
    checkpoint=dict(type='CheckpointHook', interval=20),
)
