"""The keys of a config's top level, and the words of other toolboxes for them."""

from collections.abc import Sequence
from typing import Any, Literal

# Each describes components. A child file's dict is merged into its base's, and nothing follows from a new value.
COMPONENT_KEYS = (
    'model',
    'train_dataloader',
    'val_dataloader',
    'test_dataloader',
    'train_cfg',
    'val_cfg',
    'test_cfg',
    'val_evaluator',
    'test_evaluator',
    'optim_wrapper',
    'param_scheduler',
    'default_hooks',
    'custom_hooks',
    'visualizer',
)

# In a dict of a config file: drop what the base has there.
DELETE_KEY = '_delete_'

# The keys of one kind of loop, which must be given together or not at all.
GROUPS = (
    ('train_dataloader', 'train_cfg', 'optim_wrapper'),
    ('val_dataloader', 'val_cfg', 'val_evaluator'),
    ('test_dataloader', 'test_cfg', 'test_evaluator'),
)

LOADER_KEYS = ('train_dataloader', 'val_dataloader', 'test_dataloader')

# Plain values, and what each may be.
PLAIN_KEYS: dict[str, Any] = {
    'task': Literal['det', 'seg', 'pose', 'obb', 'cls', 'panoptic'] | None,
    'classes': Sequence[str] | None,
    'load_from': str | None,
    'default_load_from': str | None,
    'resume': bool | str,
    'work_dir': str | None,
    'device': str | None,
    'launcher': Literal['none', 'pytorch', 'slurm', 'mpi'],
    'log_level': Literal['DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL'] | int,
    'log_to': str | Sequence[Any] | dict | None,
    'default_scope': Literal['detkit'] | None,
    'find_unused_parameters': bool,
    'sync_bn': bool,
    'search_space': dict | None,
}

# Dicts of plain values.
DICT_KEYS: dict[str, dict[str, Any]] = {
    'randomness': {'seed': int | None, 'deterministic': bool},
    'env_cfg': {'backend': str | None, 'timeout': float, 'cudnn_benchmark': bool},
    'tuning': {
        'num_trials': int,
        'sampler': Literal['tpe', 'random'],
        'num_startup_trials': int,
        'pruner': Literal['median', 'halving', 'none'],
        'num_startup_epochs': int,
        'seed': int,
    },
    'predict_cfg': {'score_thr': float, 'iou_thr': float, 'max_per_img': int},
    'custom_imports': {'imports': Sequence[str] | str, 'allow_failed_imports': bool, 'folder': Sequence[str] | str},
}

TOP_LEVEL_KEYS = (*COMPONENT_KEYS, *PLAIN_KEYS, *DICT_KEYS)

# The pipelines that data loaders are built from, by the loaders that may use them.
PIPELINES = {
    'train_pipeline': ('train_dataloader',),
    'val_pipeline': ('val_dataloader',),
    'test_pipeline': ('val_dataloader', 'test_dataloader'),
}

# Keys of mmengine's configs that have no effect here, and what does.
REFUSED_KEYS = {
    'auto_scale_lr': 'the learning rate is not scaled by the batch size; set optim_wrapper.optimizer.lr, or '
    'optim_wrapper.nominal_batch_size to sum gradients up to a batch size',
    'data_preprocessor': 'the preprocessor is a part of the model: set model.data_preprocessor',
    'experiment_name': 'a run is named by its folder: set work_dir',
    'log_processor': 'losses are logged every train_cfg.log_interval iterations; set that',
    'runner_type': 'there is one runner; leave it out',
    'vis_backends': "set log_to, for example log_to=['tensorboard']",
}

# Words that users of other toolboxes type, by the keys that do what they mean: the first that a config has is named.
_MEANINGS = (
    ('optim_wrapper.optimizer.lr', 'lr lr0 base_lr learning_rate initial_lr max_lr'),
    ('param_scheduler.final_factor param_scheduler', 'lrf final_lr min_lr min_lr_ratio'),
    ('optim_wrapper.optimizer.momentum optim_wrapper.optimizer.betas', 'momentum'),
    ('optim_wrapper.optimizer.weight_decay', 'weight_decay wd decay'),
    ('optim_wrapper.optimizer.type optim_wrapper.optimizer', 'optimizer optim opt optimizer_type'),
    (
        'max_epochs train_cfg.max_epochs',
        'epochs epoch num_epochs total_epochs n_epochs num_train_epochs max_epoch max_iters iters steps',
    ),
    ('default_hooks.time_limit.hours', 'time hours max_time time_limit'),
    ('img_size', 'imgsz img image_size img_sz input_size img_scale imgs resolution input_shape image_shape size_px'),
    (
        'batch_size train_dataloader.batch_size',
        'batch bs batchsize samples_per_gpu per_device_train_batch_size ims_per_batch',
    ),
    ('num_workers train_dataloader.num_workers', 'workers worker num_worker workers_per_gpu n_workers nw'),
    ('load_from', 'weights weight pretrained checkpoint ckpt init_weights load finetune'),
    (
        'data_yaml data_root train_dataloader.dataset',
        'data dataset data_path data_dir dataset_dir yaml data_cfg source',
    ),
    ('default_hooks.early_stopping.patience', 'patience early_stop early_stopping'),
    (
        'default_hooks.checkpoint.save_period default_hooks.checkpoint.interval',
        'save_period save_interval save_freq checkpoint_interval checkpoint_config save',
    ),
    (
        'work_dir',
        'project name exp exp_name run_name exist_ok save_dir output_dir out_dir log_dir workdir output '
        'outdir experiment',
    ),
    ('randomness.seed', 'seed random_seed manual_seed rng'),
    ('randomness.deterministic', 'deterministic'),
    ('device', 'gpu gpus gpu_id gpu_ids devices device_id device_ids accelerator cuda'),
    ('model.head.test_cfg.score_thr', 'conf conf_thres conf_thr confidence score_thr score_threshold thresh'),
    ('model.head.test_cfg.iou_thr', 'iou iou_thres iou_thr nms nms_thr nms_thres nms_iou iou_threshold'),
    ('model.head.test_cfg.max_per_img', 'max_det max_dets max_per_img max_detections topk'),
    ('model.head.test_cfg.class_agnostic', 'agnostic_nms agnostic class_agnostic'),
    ('freeze train_cfg.freeze', 'freeze frozen freeze_layers frozen_stages'),
    ('optim_wrapper.amp', 'amp fp16 bf16 half precision mixed_precision use_amp'),
    ('train_cfg.compile', 'compile torch_compile compiled inductor'),
    (
        'optim_wrapper.accumulate optim_wrapper.nominal_batch_size',
        'accumulate accum_iter grad_accum accumulate_grad_batches nbs gradient_accumulation_steps '
        'accumulative_counts nominal_batch_size',
    ),
    (
        'optim_wrapper.clip_grad_norm',
        'clip clip_grad grad_clip clip_grad_norm max_grad_norm clip_max_norm gradient_clip_val optimizer_config',
    ),
    ('default_hooks.ema.decay default_hooks.ema', 'ema ema_decay use_ema model_ema'),
    ('default_hooks.close_mosaic.num_epochs mosaic_prob', 'close_mosaic no_aug_epochs'),
    ('param_scheduler.decay param_scheduler', 'cos_lr linear_lr scheduler lr_scheduler lr_config sched lr_policy'),
    ('lr_drop param_scheduler.milestones param_scheduler.decay param_scheduler', 'lr_drop milestones step_size'),
    ('param_scheduler.warmup_epochs param_scheduler', 'warmup warmup_epochs warmup_iters warmup_steps'),
    ('param_scheduler.warmup_momentum param_scheduler', 'warmup_momentum'),
    ('param_scheduler.warmup_bias_lr param_scheduler', 'warmup_bias_lr'),
    ('train_cfg.val_interval', 'val noval val_interval eval_interval evaluation eval_period'),
    ('train_cfg.log_interval', 'log_interval log_period print_freq log_config interval'),
    ('log_to', 'tensorboard wandb mlflow logger loggers report_to plots'),
    ('train_dataloader.dataset.metainfo.classes data_yaml classes', 'num_classes nc names class_names labels classes'),
    ('resume', 'resume_from auto_resume'),
    ('env_cfg.backend', 'dist_backend'),
    ('env_cfg.cudnn_benchmark', 'cudnn_benchmark benchmark'),
    ('model.head.loss_bbox.loss_weight', 'box box_loss box_gain'),
    ('model.head.loss_cls.loss_weight', 'cls cls_loss cls_gain'),
    ('model.head.loss_dfl.loss_weight', 'dfl'),
    ('model.head.loss_obj.loss_weight', 'obj'),
    ('model.head.loss_keypoint.loss_weight', 'pose kobj'),
    ('model.head.loss_cls.label_smoothing', 'label_smoothing smoothing'),
    ('model.head.dropout', 'dropout'),
    ('model.data_preprocessor.multi_scale', 'multi_scale'),
    ('model.data_preprocessor', 'mean std normalize img_norm_cfg'),
    ('size model.backbone', 'arch depth depth_multiple width_multiple model_size scale_name'),
    ('model.backbone', 'backbone'),
    ('model.neck', 'neck'),
    ('model.head', 'head loss'),
    ('mosaic_prob', 'mosaic'),
    ('mixup_prob', 'mixup'),
    ('copy_paste_prob', 'copy_paste'),
    ('flip_prob', 'fliplr flip hflip horizontal_flip'),
    ('vertical_flip_prob', 'flipud vflip vertical_flip'),
    ('hue', 'hsv_h hue_delta'),
    ('saturation', 'hsv_s'),
    ('value', 'hsv_v'),
    ('degrees', 'rotate rotation angle'),
    ('single_class', 'single_cls'),
    ('mask_stride', 'mask_ratio'),
    ('custom_hooks', 'hooks callbacks'),
    ('val_evaluator', 'metric metrics evaluator'),
    ('train_pipeline', 'pipeline transforms augment augmentations'),
)
WORDS = {word: tuple(keys.split()) for keys, words in _MEANINGS for word in words.split()}
