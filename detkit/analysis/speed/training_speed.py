"""Training steps to be timed."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import nn
from torch.utils.data import DataLoader

from detkit.analysis.speed.paired_timing import Step, synchronize
from detkit.datasets.loader import build_dataloader, empty_epoch
from detkit.engine.finetune import freeze_batch_norm, freeze_modules
from detkit.engine.hooks.ema_hook import ModelEMA
from detkit.engine.optim_constructor import build_optim_wrapper
from detkit.registry import DETECTORS
from detkit.utils.errors import ConfigError

PHASES = ('data', 'step')

_SEED = 0


def training_model(path: str | Path, config: Config) -> nn.Module:
    """Build the network of a config with random weights.

    Raises:
        ConfigError: the config cannot train.
    """
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper'):
        if not config.get(key):
            raise ConfigError(f'{path} has no {key}, so that its training cannot be timed')
    return DETECTORS.build(config.model)


def training_maker(model: nn.Module, config: Config, batch_size: int, device: torch.device) -> Callable[[], Step]:
    """Return a maker of steps for ``time_paired`` that make a batch in this process and train on it.

    The phases are 'data' and 'step' (forward, losses, backward, clipping, optimiser and average, in the config's number
    format). The learning rate is 0, so that the weights, and with them the work of a step, do not change.

    Raises:
        DataError: an epoch of the data holds no batch.
    """
    settings = {**config.train_dataloader, 'batch_size': batch_size, 'num_workers': 0}
    loader = build_dataloader(settings, _SEED, device.type)
    if not len(loader):
        raise empty_epoch(len(loader.dataset), batch_size)
    model = model.to(device)

    def make() -> Step:
        own, stream = copy.deepcopy(model), endless(loader)
        train = _trainer(own, config, batch_size, len(loader), len(loader.dataset.metainfo['classes']))

        def step(turn: int) -> tuple[float, float]:
            began = time.perf_counter()
            batch = next(stream)
            made = time.perf_counter()
            train(batch)
            synchronize(device)
            return made - began, time.perf_counter() - made

        return step

    return make


def endless(loader: DataLoader) -> Iterator[dict]:
    """Yield the batches of one epoch after another."""
    for epoch in itertools.count():
        loader.batch_sampler.set_epoch(epoch)
        yield from loader


def _trainer(
    model: nn.Module, config: Config, batch_size: int, epoch_length: int, num_classes: int
) -> Callable[[dict], Any]:
    freeze = config.train_cfg.get('freeze') or ()
    held = freeze_modules(model, freeze) if freeze else []
    model.train()
    freeze_batch_norm(held)
    max_epochs = config.train_cfg.get('max_epochs', 1)
    num_iters = epoch_length * max_epochs
    wrapper = build_optim_wrapper(config.optim_wrapper, model, batch_size, num_iters, num_classes, max_epochs)
    wrapper.current_accumulate = 1
    for group in wrapper.optimizer.param_groups:
        group['lr'] = 0.0
    hooks = config.get('default_hooks') or {}
    average = ModelEMA(model) if hooks.get('ema', True) is not None else None

    def train(batch: dict) -> None:
        model.train_step(batch, optim_wrapper=wrapper)
        if average is not None:
            average.update()

    return train
