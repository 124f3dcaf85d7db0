"""A short schedule from scratch for a set of a few images: 100 epochs, AdamW at 1e-3, a step after each batch.

One size and no accumulation: four images are too few to learn from at every scale.
"""

_base_ = './yolov3.py'

max_epochs = 100

train_cfg = dict(val_interval=10)
model = dict(data_preprocessor=dict(multi_scale=None), head=dict(nominal_batch_size=1))
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-3, betas=(0.9, 0.999), weight_decay=5e-4),
    nominal_batch_size=None,
    accumulate=1,
    clip_grad_norm=10.0,
)
param_scheduler = dict(warmup_epochs=3, warmup_max_iters=None)
default_hooks = dict(
    close_mosaic=dict(type='CloseTransformsHook', num_epochs=10),
    checkpoint=dict(type='CheckpointHook', interval=10),
)
