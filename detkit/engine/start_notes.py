"""What a run can say of itself before it begins, though it is no error."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch

from detkit.datasets.wrappers import leaf_datasets
from detkit.engine.training_state import unwrap
from detkit.evaluation.gathered_metric import GatheredMetric
from detkit.utils.errors import ConfigError

if TYPE_CHECKING:
    from detkit.engine.runner import Runner

# Steps of the optimiser below which little is learnt: from other weights, and from random ones.
_FEW_STEPS = 100
_FEW_STEPS_FROM_RANDOM = 300


def start_notes(runner: Runner) -> Iterator[str]:
    """Yield a sentence on each circumstance that makes a prepared training, or its validation, say little."""
    notes = [_few_steps(runner)]
    counts = {'train': _objects_per_image(runner.train_loop.dataloader.dataset)}
    if runner.val_loop is not None:
        counts['val'] = _objects_per_image(runner.val_loop.dataloader.dataset)
        notes.append(_dense_scenes(runner, counts['val']))
    for split, numbers in counts.items():
        if numbers and not any(numbers):
            result = 'nothing can be learnt' if split == 'train' else 'no metric is defined, no best.pth chosen'
            notes.append(f'none of the {len(numbers):,} {split} images shows an object: {result}')
    yield from filter(None, notes)


def few_steps(runner: Runner) -> tuple[int, str, str] | None:
    """Return the optimiser's steps, what they are made of, and the remedy, where they are too few to learn much."""
    loop, summed = runner.train_loop, runner.optim_wrapper.accumulate
    steps = loop.max_iters // summed
    if steps >= (_FEW_STEPS if _starts_from_weights(runner) else _FEW_STEPS_FROM_RANDOM):
        return None
    made_of = f'{loop.max_epochs} epochs of {loop.epoch_length} batches'
    made_of += f', the gradients of {summed} summed,' if summed > 1 else ''
    remedy = 'more epochs, or a smaller batch_size' + ', or optim_wrapper.accumulate=1' * (summed > 1)
    if not _starts_from_weights(runner):
        remedy += ', or load_from=PATH to start from trained weights'
    return steps, made_of, remedy


def check_batch_of_one(runner: Runner) -> None:
    """Refuse a training whose batch of one image cannot be normalised.

    Raises:
        ConfigError: batch normalisation sees a single value a channel.
    """
    loader = runner.train_loop.dataloader
    sampler = loader.batch_sampler
    size, count = getattr(sampler, 'batch_size', 0), len(loader.dataset)
    last = count % size if size and not getattr(sampler, 'drop_last', False) else 0
    if 1 not in (size, last, count):
        return
    model = deepcopy(unwrap(runner.model)).cpu().float().train()
    inputs = loader.collate_fn(loader.dataset.__getitems__([0]))['inputs']
    try:
        with torch.no_grad():
            model(inputs.float(), mode='tensor')
    except ValueError as error:
        if 'more than 1 value per channel' not in str(error):
            raise
        which = 'a batch' if size == 1 else 'the last batch of an epoch'
        raise ConfigError(
            f'{which} is one image, and at {inputs.shape[-1]}x{inputs.shape[-2]} pixels batch normalisation sees a '
            'single value a channel, which it cannot normalise. Set train_dataloader.drop_last=True, another '
            'batch_size, or a larger img_size.'
        ) from error


def _few_steps(runner: Runner) -> str | None:
    few = few_steps(runner)
    if few is None:
        return None
    steps, made_of, remedy = few
    start = 'the weights of load_from' if runner.cfg.get('load_from') else 'random weights'
    return f'{made_of} are {steps} steps of the optimiser from {start}: too few to learn much; {remedy}'


def _starts_from_weights(runner: Runner) -> bool:
    return bool(runner.cfg.get('load_from') or runner.resumed)


def _dense_scenes(runner: Runner, counts: list[int]) -> str | None:
    metrics = [metric for metric in runner.val_evaluator.metrics if isinstance(metric, GatheredMetric)]
    most = max(counts, default=0)
    for metric in metrics:
        limit = max(metric.max_dets, default=most)
        dense = sum(count > limit for count in counts)
        if dense:
            return (
                f'{dense:,} val images show more objects (up to {most:,}) than the {limit} predictions '
                f'an image that {type(metric).__name__} counts: set its max_dets=(1, 10, {_round_up(most)}) in '
                f'val_evaluator and test_evaluator, and model.head.test_cfg.max_per_img no lower'
            )
    return None


def _round_up(count: int) -> int:
    return -(-count // 100) * 100


def _objects_per_image(dataset: Any) -> list[int]:
    """Return how many objects that count each image shows; an image of one class as a whole shows one."""
    return [
        1 if record.class_label is not None else int((~record.annotations.ignored).sum())
        for leaf in leaf_datasets(dataset)
        for record in getattr(leaf, 'records', ())
    ]
