"""Which of mmengine's and torch's registered components work here, and what to use in place of the others."""

from collections.abc import Callable

# Every other component of mmengine is refused: it needs parts of mmengine's runner, or does nothing without them.
_WORKING = frozenset(
    {
        'EmptyCacheHook',
        'ProfilerHook',
        *(
            f'{name}{kind}'
            for name in (
                'Constant',
                'CosineAnnealing',
                'CosineRestart',
                'Exponential',
                'Linear',
                'MultiStep',
                'Poly',
                'Step',
            )
            for kind in ('LR', 'Momentum', 'ParamScheduler')
        ),
        'OneCycleLR',
        'OneCycleParamScheduler',
        'Visualizer',
        'LocalVisBackend',
        'AimVisBackend',
        'ClearMLVisBackend',
        'DVCLiveVisBackend',
        'MLflowVisBackend',
        'NeptuneVisBackend',
        'TensorboardVisBackend',
        'WandbVisBackend',
        'Caffe2XavierInit',
        'ConstantInit',
        'KaimingInit',
        'NormalInit',
        'TruncNormalInit',
        'UniformInit',
        'XavierInit',
    }
)
_SCHEDULE = 'use WarmupDecay, or a schedule that depends on the iteration alone, such as MultiStepLR'
_WRAPPER = 'use AccumulatingOptimWrapper with amp, accumulate and clip_grad_norm'
_LOOP = 'use TrainLoop, which counts epochs: train_cfg=dict(max_epochs=...)'
_AVERAGE = "use the hook: default_hooks=dict(ema=dict(type='EMAHook'))"
_PREPROCESSOR = 'use DetDataPreprocessor'
_SAMPLER = "use EpochSampler: sampler=dict(type='EpochSampler', shuffle=True)"
_OPTIMIZER = 'use SGD, Adam or AdamW'
_REMEDIES = {
    'AmpOptimWrapper': _WRAPPER,
    'ApexOptimWrapper': _WRAPPER,
    'BaseDataPreprocessor': _PREPROCESSOR,
    'CheckpointHook': 'use CheckpointHook without a prefix',
    'ClassBalancedDataset': "use the sampler: sampler=dict(type='RepeatFactorSampler', threshold=...)",
    'ColossalAIOptimWrapper': _WRAPPER,
    'DeepSpeedOptimWrapper': _WRAPPER,
    'DefaultOptimWrapperConstructor': 'use GroupOptimConstructor with paramwise_cfg=dict(lr_mult={...})',
    'DefaultSampler': _SAMPLER,
    'DistSamplerSeedHook': 'EpochSampler needs no hook; leave it out',
    'DumpResults': 'write predictions with detkit test --out',
    'EMAHook': 'use EMAHook without a prefix',
    'EarlyStoppingHook': 'use EarlyStoppingHook without a prefix',
    'EpochBasedTrainLoop': _LOOP,
    'ExponentialMovingAverage': _AVERAGE,
    'ImgDataPreprocessor': _PREPROCESSOR,
    'InfiniteSampler': _SAMPLER,
    'IterBasedTrainLoop': _LOOP,
    'IterTimerHook': 'ConsoleHook shows images a second and the time left; leave it out',
    'LoggerHook': 'ScalarLogHook and ConsoleHook log what the run does: set train_cfg.log_interval and log_to',
    'MomentumAnnealingEMA': _AVERAGE,
    'NaiveVisualizationHook': 'use RunPicturesHook, or detkit test --show-dir',
    'OptimWrapper': _WRAPPER,
    'ParamSchedulerHook': 'the loop sets the rates by param_scheduler; leave it out',
    'PretrainedInit': "set load_from to a checkpoint of the model, or the backbone's weights",
    'ReduceOnPlateauLR': _SCHEDULE,
    'ReduceOnPlateauMomentum': _SCHEDULE,
    'ReduceOnPlateauParamScheduler': _SCHEDULE,
    'RuntimeInfoHook': 'ScalarLogHook logs what it collects; leave it out',
    'StochasticWeightAverage': _AVERAGE,
    'SyncBuffersHook': 'running statistics are shared before each validation; leave it out',
    'default_collate': 'use collate',
    'pseudo_collate': 'use collate',
    # torch's optimisers that a training loop without closures and with three parameter groups cannot use
    'LBFGS': _OPTIMIZER,
    'Optimizer': _OPTIMIZER,
    'Rprop': _OPTIMIZER,
    'SparseAdam': _OPTIMIZER,
    'ZeroRedundancyOptimizer': _OPTIMIZER,
}


def refusal(factory: Callable) -> str:
    """Return why a component of mmengine or torch cannot be used, and what can; empty for one that can."""
    module, name = f'{factory.__module__}.', getattr(factory, '__name__', '')
    if module.startswith('mmengine.'):
        if name in _WORKING:
            return ''
        return (
            f"mmengine's {name} has no effect here or cannot work; {_REMEDIES.get(name, 'use a component of detkit')}"
        )
    if module.startswith('torch.') and name in _REMEDIES:
        return f"torch's {name} does not fit the training loop; {_REMEDIES[name]}"
    return ''
