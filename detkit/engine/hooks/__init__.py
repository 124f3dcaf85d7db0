"""Hooks, which are called at fixed points of training, validation and test."""

from .checkpoint_hook import CheckpointHook
from .close_mosaic_hook import CloseMosaicHook
from .console_hook import ConsoleHook, ProgressHook
from .ema_hook import EMAHook
from .hook import Hook
from .scalar_log_hook import ScalarLogHook
from .skipped_hook import SkippedHook
from .stop_hooks import EarlyStoppingHook, TimeLimitHook

__all__ = [
    'CheckpointHook',
    'CloseMosaicHook',
    'ConsoleHook',
    'EMAHook',
    'EarlyStoppingHook',
    'Hook',
    'ProgressHook',
    'ScalarLogHook',
    'SkippedHook',
    'TimeLimitHook',
]
