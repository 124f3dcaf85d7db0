"""Hooks, which are called at fixed points of training, validation and test."""

from detkit.engine.hooks.checkpoint_hook import CheckpointHook
from detkit.engine.hooks.close_mosaic_hook import CloseMosaicHook
from detkit.engine.hooks.console_hook import ConsoleHook, ProgressHook
from detkit.engine.hooks.ema_hook import EMAHook
from detkit.engine.hooks.hook import Hook
from detkit.engine.hooks.scalar_log_hook import ScalarLogHook
from detkit.engine.hooks.skipped_hook import SkippedHook
from detkit.engine.hooks.stop_hooks import EarlyStoppingHook, TimeLimitHook

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
