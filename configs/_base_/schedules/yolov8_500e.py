"""YOLOv8's schedule on COCO: 500 epochs, nominal batch 64, mosaic off for the last 10.

``type='auto'`` picks SGD at 0.01 for more than 10,000 steps, else AdamW at a rate by the number of classes; ``lr``
replaces the rate alone, and ``optim_wrapper.optimizer=dict(type='SGD', lr=0.01, ...)`` decides both.
"""

max_epochs = 500

train_cfg = dict(
    type='TrainLoop',
    max_epochs=max_epochs,
    val_interval=1,
    freeze=[],  # module prefixes, or a number: the first parts of the backbone
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='AccumulatingOptimWrapper',
    constructor='GroupOptimConstructor',
    optimizer=dict(type='auto', lr=None, momentum=0.937, weight_decay=5e-4),
    reduction='sum',  # of the gradients of processes and accumulated batches; 'mean' where losses are means
    nominal_batch_size=64,  # gradients are summed over batches until about this many images
    accumulate=None,  # or that many batches
    clip_grad_norm=10.0,
    amp=True,  # False, 'bf16' or 'fp16'
)
param_scheduler = dict(
    type='WarmupDecay',
    warmup_epochs=3,
    warmup_min_iters=100,
    warmup_bias_lr=None,  # 0.1 with SGD, 0 with AdamW
    warmup_momentum=0.8,
    decay='linear',  # or 'cosine', 'constant'
    final_factor=0.01,
)

default_hooks = dict(
    ema=dict(type='EMAHook', decay=0.9999, tau=2000),
    close_mosaic=dict(type='CloseTransformsHook', num_epochs=10),
    early_stopping=dict(type='EarlyStoppingHook', patience=100),
)
