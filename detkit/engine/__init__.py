"""Training, validation and testing: the runner with its loops, hooks, optimiser, schedules and checkpoints."""

from typing import TYPE_CHECKING

from detkit.utils.lazy import lazy_names

if TYPE_CHECKING:
    from detkit.engine.checkpoint import load_checkpoint, save_checkpoint
    from detkit.engine.eval_loops import TestLoop, ValLoop
    from detkit.engine.evaluate import EvaluationSettings, evaluate_checkpoint
    from detkit.engine.finetune import load_weights
    from detkit.engine.hooks import Hook
    from detkit.engine.mu_sgd import MuSGD
    from detkit.engine.optim_constructor import AutoOptimizer, GroupOptimConstructor
    from detkit.engine.optim_wrapper import AccumulatingOptimWrapper
    from detkit.engine.runner import Runner
    from detkit.engine.schedule import WarmupDecay
    from detkit.engine.train import train_from_config
    from detkit.engine.train_loop import TrainLoop

__getattr__ = lazy_names(
    __name__,
    {
        'AccumulatingOptimWrapper': 'optim_wrapper',
        'AutoOptimizer': 'optim_constructor',
        'EvaluationSettings': 'evaluate',
        'GroupOptimConstructor': 'optim_constructor',
        'Hook': 'hooks',
        'MuSGD': 'mu_sgd',
        'Runner': 'runner',
        'TestLoop': 'eval_loops',
        'TrainLoop': 'train_loop',
        'ValLoop': 'eval_loops',
        'WarmupDecay': 'schedule',
        'evaluate_checkpoint': 'evaluate',
        'load_checkpoint': 'checkpoint',
        'load_weights': 'finetune',
        'save_checkpoint': 'checkpoint',
        'train_from_config': 'train',
    },
)

__all__ = [
    'AccumulatingOptimWrapper',
    'AutoOptimizer',
    'EvaluationSettings',
    'GroupOptimConstructor',
    'Hook',
    'MuSGD',
    'Runner',
    'TestLoop',
    'TrainLoop',
    'ValLoop',
    'WarmupDecay',
    'evaluate_checkpoint',
    'load_checkpoint',
    'load_weights',
    'save_checkpoint',
    'train_from_config',
]
