"""A short schedule from scratch for a set of a few images: AdamW, a warm-up, and a decay to nothing."""

_base_ = './schedule_1x.py'

max_epochs = 40
base_lr = 5e-4

train_cfg = dict(val_interval=10)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=base_lr, weight_decay=1e-4),
    clip_grad_norm=10.0,
)
param_scheduler = dict(
    _delete_=True, type='WarmupDecay', warmup_epochs=3, decay='cosine', final_factor=0.01, by_epoch=False
)
default_hooks = dict(
    checkpoint=dict(type='CheckpointHook', interval=10),
)
