"""DETR's schedule on COCO: 300 epochs, AdamW at 1e-4 with a tenth of that for the backbone, × .1 from epoch 200 on.

Published for 16 images a step. Each process takes a step with its ``batch_size`` images; with fewer GPUs than the
published 8, ``optim_wrapper.accumulate=8`` averages the gradients of 8 batches.
"""

max_epochs = 300
lr_drop = 200

train_cfg = dict(type='TrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='AccumulatingOptimWrapper',
    constructor='GroupOptimConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=1e-4),
    paramwise_cfg=dict(lr_mult={'backbone': 0.1}, decay_all=True),
    accumulate=1,  # batches a step
    clip_grad_norm=0.1,
    reduction='mean',  # the losses are means over the boxes of all processes
    amp=True,
)
param_scheduler = dict(type='MultiStepLR', milestones=[lr_drop], gamma=0.1)
