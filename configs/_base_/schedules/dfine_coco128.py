"""A schedule from scratch for a set of some hundred images: as that of a few images, longer and at a smaller rate."""

_base_ = './dfine_coco8.py'

max_epochs = 200

optim_wrapper = dict(optimizer=dict(lr=3e-4))
default_hooks = dict(ema=dict(decay=0.998, tau=500))
