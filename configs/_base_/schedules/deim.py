"""DEIM's schedule (https://arxiv.org/abs/2412.04234): a flat rate, a cosine to half of it, and a flat end.

Strong augmentation begins in the fifth epoch. Mosaics and averaged images end about half-way, where the cosine begins,
and all of it some epochs before the end, where training goes on from the best weights.

Published for 32 images a step (16 on RT-DETRv2, 128 in N and in DEIMv2). Each process takes a step with its
``batch_size`` images; ``optim_wrapper.accumulate=8`` averages the gradients of 8 batches. A leaf chooses
its ``recipe``.
"""

_base_ = './dfine.py'

# By size: the rate, the backbone's share of it, weight decay, epochs, those at the end, those of them and before them
# without strong augmentation, by how many epochs mosaics last longer than half of the time before the end, and the
# share of the rate that is left at the end. The later ones are those of RT-DETRv2 and of DEIMv2.
recipes = dict(
    n=(8e-4, 0.5, 1e-4, 160, 12, 12, 4, 1.0),
    s=(4e-4, 0.5, 1e-4, 132, 12, 12, 4, 0.5),
    m=(4e-4, 0.1, 1e-4, 102, 12, 12, 4, 0.5),
    l=(5e-4, 0.05, 1.25e-4, 58, 8, 8, 4, 0.5),
    x=(5e-4, 0.01, 1.25e-4, 58, 8, 8, 4, 0.5),
    r18=(2e-4, 1.0, 1e-4, 120, 3, 3, 6, 0.5),
    r34=(2e-4, 0.5, 1e-4, 120, 3, 3, 6, 0.5),
    r50_m=(2e-4, 0.1, 1e-4, 60, 2, 2, 5, 0.5),
    r50=(2e-4, 0.1, 1e-4, 60, 2, 2, 5, 0.5),
    r101=(2e-4, 0.01, 1e-4, 60, 2, 2, 5, 0.5),
    hgnetv2_l=(2e-4, 0.1, 1e-4, 60, 2, 2, 5, 0.5),  # these two are not published
    hgnetv2_x=(2e-4, 0.01, 1e-4, 60, 2, 2, 5, 0.5),
    atto=(2e-3, 0.5, 1e-4, 500, 32, 100, 16, 0.5),
    femto=(1.6e-3, 0.5, 1e-4, 500, 32, 100, 16, 0.5),
    pico=(1.6e-3, 0.5, 1e-4, 500, 32, 100, 16, 0.5),
)
recipe = recipes['s']
max_epochs = recipe[3]
tail_epochs = recipe[4]
plain_epochs = recipe[5]
mosaic_epochs = max((max_epochs - tail_epochs) // 2 + recipe[6], 0)
start_epoch = 4
warmup_iters = 2000

param_scheduler = dict(
    _delete_=True,
    type='WarmupDecay',
    warmup_epochs=0.001,
    warmup_min_iters=warmup_iters,
    warmup_bias_lr='weights',
    warmup_momentum=None,
    warmup_power=2.0,
    decay='cosine',
    final_factor=recipe[7],
    flat_epochs=mosaic_epochs,
    tail_epochs=tail_epochs,
    by_epoch=False,
)
default_hooks = dict(
    close_transforms=dict(num_epochs=plain_epochs, start_epoch=start_epoch),
    close_mosaic=dict(
        type='CloseTransformsHook',
        num_epochs=max(max_epochs - mosaic_epochs, plain_epochs),
        start_epoch=start_epoch,
        names=['GridMosaic', 'MixUp', 'CopyBlend'],
    ),
)
