"""Names of mmengine's runner that detkit's lacks, each with a replacement."""

from typing import Any, NoReturn

ELSEWHERE = {
    'build_evaluator': 'detkit.evaluation.Evaluator',
    'build_log_processor': 'ScalarLogHook and ConsoleHook, which log the losses',
    'build_logger': 'log_level in the config, and the attributes logger and console',
    'build_message_hub': 'the attribute message_hub',
    'build_model': 'detkit.registry.DETECTORS.build',
    'build_optim_wrapper': 'detkit.engine.optim_constructor.build_optim_wrapper',
    'build_param_scheduler': 'detkit.engine.schedule.build_schedules',
    'build_test_loop': 'the attribute test_loop',
    'build_train_loop': 'the attribute train_loop',
    'build_val_loop': 'the attribute val_loop',
    'build_visualizer': 'log_to in the config, and the attribute scalar_log',
    'deterministic': 'randomness.deterministic in the config',
    'dump_config': "config.py in the run's folder, which is written as the run begins",
    'get_hooks_info': 'the attribute hooks',
    'launcher': 'launcher in the config',
    'load_checkpoint': 'load_from in the config, or detkit.engine.load_checkpoint and load_weights',
    'log_dir': 'the attribute work_dir',
    'model_name': 'type(runner.model).__name__',
    'register_custom_hooks': 'custom_hooks in the config, or register_hook',
    'register_default_hooks': 'default_hooks in the config, or register_hook',
    'register_hooks': 'default_hooks and custom_hooks in the config, or register_hook',
    'resume': 'resume in the config',
    'save_checkpoint': 'CheckpointHook, or detkit.engine.save_checkpoint of capture_training_state(runner)',
    'scale_lr': 'optim_wrapper.nominal_batch_size in the config',
    'set_randomness': 'randomness in the config',
    'setup_env': 'device, launcher and env_cfg in the config',
    'timestamp': 'train.log, whose lines are dated',
    'val_begin': 'train_loop.val_begin',
    'val_interval': 'train_loop.val_interval',
    'visualizer': 'the attribute scalar_log, and log_picture',
    'wrap_model': 'launcher in the config',
}


class _Refused:
    """An attribute that raises ``AttributeError``."""

    def __init__(self, name: str, use: str) -> None:
        self.name, self.use = name, use

    def __get__(self, instance: Any, owner: type) -> NoReturn:
        raise AttributeError(f"detkit's Runner has no {self.name!r}; use {self.use}")


class Elsewhere:
    """Base of the runner: refuses the names of ``ELSEWHERE`` with a sentence."""


for _name, _use in ELSEWHERE.items():
    setattr(Elsewhere, _name, _Refused(_name, _use))
