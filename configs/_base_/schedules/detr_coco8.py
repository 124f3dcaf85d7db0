"""A short schedule from scratch for a set of a few images: one rate for all, a warm-up, and a decay to nothing.

The published recipe starts from a backbone trained on ImageNet, and needs hundreds of thousands of steps.
"""

_base_ = './detr_300e.py'

max_epochs = 100

train_cfg = dict(val_interval=20)
optim_wrapper = dict(
    optimizer=dict(lr=3e-4),
    paramwise_cfg=dict(_delete_=True, decay_all=True),
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
    checkpoint=dict(type='CheckpointHook', interval=20),
)
