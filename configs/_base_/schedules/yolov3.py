"""YOLOv3's schedule on COCO as people train it (https://github.com/ultralytics/yolov3): SGD over 64 images, cosine.

The first epoch warms up: the rate rises from a thousandth over 1,000 iterations, or over the epoch where it has fewer.
With darknet53.conv.74 or the weights of a whole model to start from, parts of it can be kept as they are:
    --cfg-options freeze=backbone                         Darknet-53
    --cfg-options freeze=backbone,neck                    all but the three predictors
"""

max_epochs = 300
freeze = []  # names of modules, or a number: the first parts of the backbone

train_cfg = dict(
    type='TrainLoop',
    max_epochs=max_epochs,
    val_interval=1,
    best_metric='mAP',
    freeze=freeze,
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

model = dict(
    # Another size for each step of the optimiser, in steps of 32 pixels.
    data_preprocessor=dict(multi_scale=(0.67, 1.5), multi_scale_interval=None),
    # The rate is for the mean over the images of a step.
    head=dict(nominal_batch_size=64),
)

optim_wrapper = dict(
    type='AccumulatingOptimWrapper',
    constructor='GroupOptimConstructor',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.937, nesterov=True, weight_decay=5e-4),
    reduction='sum',  # of the gradients of processes and accumulated batches; 'mean' where losses are means
    nominal_batch_size=64,  # gradients are summed over batches until about this many images
    accumulate=None,  # or that many batches
    clip_grad_norm=None,
    amp=True,  # False, 'bf16' or 'fp16'
)
param_scheduler = dict(
    type='WarmupDecay',
    warmup_epochs=1,
    warmup_max_iters=1000,
    warmup_factor=0.001,
    warmup_bias_lr='weights',
    warmup_momentum=None,
    decay='cosine',  # or 'linear', 'constant'
    final_factor=0.01,
)

default_hooks = dict(
    ema=dict(type='EMAHook', decay=0.9999, tau=2000),
    close_mosaic=None,
    early_stopping=None,
)
