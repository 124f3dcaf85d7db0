"""Training, validation and testing: the runner and what it drives."""

from . import eval_loops, hooks, optim_constructor, optim_wrapper, schedule, train_loop
from .checkpoint import load_checkpoint, save_checkpoint
from .finetune import load_weights
from .runner import Runner
from .train import train_from_config

__all__ = [
    'Runner',
    'eval_loops',
    'hooks',
    'load_checkpoint',
    'load_weights',
    'optim_constructor',
    'optim_wrapper',
    'save_checkpoint',
    'schedule',
    'train_from_config',
    'train_loop',
]
