"""The settings of every run: where it starts, its seed, and its hooks, to which a schedule adds those of its recipe.

``--cfg-options`` reaches all of it, e.g. ``randomness.seed=1 default_hooks.time_limit.hours=2``; a hook that is set to
None is left out.
"""

default_scope = 'detkit'

work_dir = None  # work_dirs/<config name>, with -2, -3, ... behind it where that exists
load_from = None  # a checkpoint to fine-tune from, or a name that `detkit zoo list` shows
default_load_from = None  # such a name, for where load_from is None: taken if its licence and the network let it
resume = False  # True: the newest intact checkpoint in work_dir; or a checkpoint's path
device = None  # the accelerator, if there is one
launcher = 'none'
sync_bn = False  # several processes: normalise over the images of all of them
log_level = 'INFO'
log_to = []  # 'tensorboard', 'wandb', 'mlflow': where metrics go beside the run's own files

# The thresholds of prediction, which options of `detkit predict` and arguments in Python replace.
predict_cfg = dict(score_thr=0.25, iou_thr=0.7, max_per_img=300)

randomness = dict(seed=0, deterministic=False)
env_cfg = dict(backend=None, timeout=1800, cudnn_benchmark=False)

default_hooks = dict(
    time_limit=dict(type='TimeLimitHook', hours=None),
    skipped=dict(type='SkippedHook', max_skipped=None),
    scalars=dict(type='ScalarLogHook'),
    console=dict(type='ConsoleHook'),
    checkpoint=dict(type='CheckpointHook', interval_iters=None, save_period=None, strip_best=True),
    pictures=dict(type='RunPicturesHook'),
)
custom_hooks = []
