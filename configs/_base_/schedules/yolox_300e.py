"""YOLOX's schedule on COCO (https://arxiv.org/abs/2107.08430, section 2.1): 300 epochs of SGD over 64 images.

The rate rises with the square of the iteration in the first 5 epochs, falls as a cosine, and stays at 5 % in the last
15, which have neither mosaics nor averaged images, but the L1 loss.
"""

max_epochs = 300
plain_epochs = 15  # without mosaics, with the L1 loss

train_cfg = dict(
    type='TrainLoop',
    max_epochs=max_epochs,
    val_interval=10,
    freeze=[],  # module prefixes, or a number: the first parts of the backbone
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='AccumulatingOptimWrapper',
    constructor='GroupOptimConstructor',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4),
    reduction='mean',  # the losses are means over the objects of all processes
    nominal_batch_size=64,  # gradients are averaged over batches until about this many images
    accumulate=None,  # or that many batches
    clip_grad_norm=None,
    amp=True,  # False, 'bf16' or 'fp16'
)
param_scheduler = dict(
    type='WarmupDecay',
    warmup_epochs=5,
    warmup_power=2.0,
    warmup_bias_lr='weights',
    warmup_momentum=None,
    decay='cosine',  # or 'linear', 'constant'
    final_factor=0.05,
    flat_epochs=5,
    tail_epochs=plain_epochs,
    by_epoch=False,
)

default_hooks = dict(
    ema=dict(type='EMAHook', decay=0.9998, tau=2000),
    close_mosaic=dict(type='CloseTransformsHook', num_epochs=plain_epochs),
    l1=dict(type='LossWeightHook', num_epochs=plain_epochs, weights=dict(loss_l1=1.0)),
)
