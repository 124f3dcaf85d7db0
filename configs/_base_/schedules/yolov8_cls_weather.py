"""A short schedule from scratch for a few hundred images: 40 epochs, AdamW at 1e-3, a step after each batch."""

_base_ = './yolov8_cls.py'

max_epochs = 40

train_cfg = dict(val_interval=2)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-3, betas=(0.9, 0.999), weight_decay=5e-4),
    nominal_batch_size=None,
    accumulate=1,
)
param_scheduler = dict(warmup_min_iters=0)
