"""The schedule '1x' of Detectron and mmdetection: 12 epochs of SGD, a tenth of the rate from epochs 8 and 11 on.

The rate is for 16 images a step and rises over the first ``warmup_iters``, of which a small dataset wants fewer. Each
process takes a step with its ``batch_size`` images; with fewer GPUs than the usual 8, ``optim_wrapper.accumulate=8``
averages the gradients of 8 batches.
"""

max_epochs = 12
milestones = [(max_epochs * 2 + 2) // 3, (max_epochs * 11 + 11) // 12]  # rounded up: no drop before the first epoch
base_lr = 0.02
warmup_iters = 500
freeze = []  # names of modules, or a number: the first parts of the backbone

train_cfg = dict(type='TrainLoop', max_epochs=max_epochs, val_interval=1, freeze=freeze)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='AccumulatingOptimWrapper',
    constructor='GroupOptimConstructor',
    optimizer=dict(type='SGD', lr=base_lr, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(decay_all=True),
    reduction='mean',  # the losses are means over all processes
    nominal_batch_size=None,
    accumulate=1,  # batches a step
    clip_grad_norm=None,
    amp=True,
)
_warmup = dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=warmup_iters)
param_scheduler = [
    *([_warmup] if warmup_iters else []),
    dict(type='MultiStepLR', milestones=milestones, gamma=0.1),
]
