"""A short schedule from scratch for a set of a few images: 100 epochs, AdamW at 1e-3, a step after each batch.

Without accumulation: with four images the published recipe would take a step every sixteenth batch.
"""

_base_ = './yolox_300e.py'

max_epochs = 100
plain_epochs = 10

train_cfg = dict(val_interval=10)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-3, betas=(0.9, 0.999), weight_decay=5e-4),
    nominal_batch_size=None,
    accumulate=1,
    clip_grad_norm=10.0,
)
default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=5))
