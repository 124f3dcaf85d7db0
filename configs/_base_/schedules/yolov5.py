"""YOLOv5's schedule on COCO (https://github.com/ultralytics/yolov5): 300 epochs of SGD over 64 images, linear decay.

Mosaic stays on to the end; ``default_hooks.close_mosaic.num_epochs=10`` turns it off for the last epochs, as later
versions do.
"""

max_epochs = 300
freeze = []  # names of modules, or a number: the first parts of the backbone

train_cfg = dict(
    type='TrainLoop',
    max_epochs=max_epochs,
    val_interval=1,
    freeze=freeze,
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='AccumulatingOptimWrapper',
    constructor='GroupOptimConstructor',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.937, nesterov=True, weight_decay=5e-4),
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
    warmup_bias_lr=0.1,
    warmup_momentum=0.8,
    decay='linear',  # or 'cosine', 'constant'
    final_factor=0.01,
)

default_hooks = dict(
    ema=dict(type='EMAHook', decay=0.9999, tau=2000),
    close_mosaic=dict(type='CloseTransformsHook', num_epochs=0),
    early_stopping=dict(type='EarlyStoppingHook', patience=100),
)
