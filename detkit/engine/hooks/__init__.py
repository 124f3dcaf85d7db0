"""Hooks, which are called at fixed points of training, validation and test."""

from typing import TYPE_CHECKING

from detkit.utils.lazy import lazy_names

if TYPE_CHECKING:
    from detkit.engine.hooks.checkpoint_hook import CheckpointHook
    from detkit.engine.hooks.close_multi_scale_hook import CloseMultiScaleHook
    from detkit.engine.hooks.close_transforms_hook import CloseTransformsHook
    from detkit.engine.hooks.console_hook import ConsoleHook, ProgressHook
    from detkit.engine.hooks.ema_hook import EMAHook
    from detkit.engine.hooks.ema_restart_hook import EMARestartHook
    from detkit.engine.hooks.hook import Hook
    from detkit.engine.hooks.loss_share_hook import LossShareHook
    from detkit.engine.hooks.loss_weight_hook import LossWeightHook
    from detkit.engine.hooks.scalar_log_hook import ScalarLogHook
    from detkit.engine.hooks.skipped_hook import SkippedHook
    from detkit.engine.hooks.stop_hooks import EarlyStoppingHook, TimeLimitHook
    from detkit.engine.hooks.switch_assigner_hook import SwitchAssignerHook

__getattr__ = lazy_names(
    __name__,
    {
        'CheckpointHook': 'checkpoint_hook',
        'CloseMultiScaleHook': 'close_multi_scale_hook',
        'CloseTransformsHook': 'close_transforms_hook',
        'ConsoleHook': 'console_hook',
        'EMAHook': 'ema_hook',
        'EMARestartHook': 'ema_restart_hook',
        'EarlyStoppingHook': 'stop_hooks',
        'Hook': 'hook',
        'ProgressHook': 'console_hook',
        'LossShareHook': 'loss_share_hook',
        'LossWeightHook': 'loss_weight_hook',
        'ScalarLogHook': 'scalar_log_hook',
        'SkippedHook': 'skipped_hook',
        'SwitchAssignerHook': 'switch_assigner_hook',
        'TimeLimitHook': 'stop_hooks',
    },
)

__all__ = [
    'CheckpointHook',
    'CloseMultiScaleHook',
    'CloseTransformsHook',
    'ConsoleHook',
    'EMAHook',
    'EMARestartHook',
    'EarlyStoppingHook',
    'Hook',
    'ProgressHook',
    'LossShareHook',
    'LossWeightHook',
    'ScalarLogHook',
    'SkippedHook',
    'SwitchAssignerHook',
    'TimeLimitHook',
]
