"""A short schedule from scratch for a set of a few images: 100 epochs, AdamW at 1e-3, a step after each batch.

The published recipe is made for COCO: with four images it would take a step every sixteenth batch and learn nothing.
"""

_base_ = './yolov5.py'

max_epochs = 100

train_cfg = dict(val_interval=10)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-3, betas=(0.9, 0.999), weight_decay=5e-4),
    nominal_batch_size=None,
    accumulate=1,
)
param_scheduler = dict(warmup_min_iters=0, warmup_bias_lr=None)
default_hooks = dict(
    close_mosaic=dict(num_epochs=10),
    checkpoint=dict(type='CheckpointHook', interval=5),
)
