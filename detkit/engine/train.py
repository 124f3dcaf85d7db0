"""What ``tools/train.py`` does, for use from Python too."""

from typing import Any

from torch import distributed

from detkit.config import load_config
from detkit.engine.runner import Runner


def train_from_config(
    path: str,
    options: Any = None,
    work_dir: str | None = None,
    resume: str | bool | None = None,
    amp: bool | str | None = None,
    device: str | None = None,
    seed: int | None = None,
    launcher: str = 'none',
) -> Runner:
    """Train what a config file describes.

    Args:
        path: the config file.
        options: ``['key=value', ...]`` or a dict.
        work_dir: the run's folder; None for ``work_dirs/<config name>``.
        resume: a checkpoint's path; True or 'auto' for the run folder's newest intact one; None for what the config
            says.
        amp, device, seed: in place of the config's; None to leave them.
        launcher: how several processes were started.
    """
    cfg = load_config(path, options)
    if work_dir is not None:
        cfg.work_dir = work_dir
    if resume is not None:
        cfg.resume = True if resume == 'auto' else resume
    if amp is not None:
        cfg.optim_wrapper.amp = amp
    if device is not None:
        cfg.device = device
    if seed is not None:
        cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': seed}
    cfg.launcher = launcher
    try:
        runner = Runner(cfg)
        runner.train()
    finally:
        if distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()
    return runner
