"""Notes on a run before it begins, and mistakes that only its data show."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from detkit.datasets.records import Records
from detkit.datasets.wrappers import RecordDataset, leaf_datasets
from detkit.engine.amp import amp_note
from detkit.engine.run_folder import display_path
from detkit.engine.schedule_problems import schedule_problems
from detkit.engine.training_state import unwrap
from detkit.evaluation.gathered_metric import GatheredMetric
from detkit.models.heads import BaseHead, QueryHead
from detkit.utils.errors import ConfigError
from detkit.utils.numbers import count_text

if TYPE_CHECKING:
    from detkit.engine.runner import Runner

# Steps of the optimiser below which little is learnt from other weights; from random ones a head has its own number.
_FEW_STEPS = 100

# Annotations that a task or a metric needs, see ``GatheredMetric.needs``: their name, and where they come from.
NEEDS = {
    'segm': ('an outline', "polygons or RLE, such as COCO's instances_*.json or YOLO's segment labels have"),
    'keypoints': ('keypoints', "keypoints, such as COCO's person_keypoints_*.json or YOLO's pose labels have"),
    'rbbox': ('a rotated box', "corners, such as DOTA's labels or YOLO's OBB labels have"),
    'label': ('a class of the whole image', 'a folder a class'),
}
NEED_OF_TASK = {'seg': 'segm', 'pose': 'keypoints', 'obb': 'rbbox', 'cls': 'label'}


def start_notes(runner: Runner) -> Iterator[str]:
    """Yield a sentence on each circumstance that makes a prepared training, or its validation, say little."""
    bf16 = runner.optim_wrapper.amp_dtype == torch.bfloat16
    notes = [amp_note('bf16', runner.device)] if bf16 else []
    notes += [_few_steps(runner), *(f'{text}: {remedy}' for text, remedy in schedule_problems(runner))]
    counts = {'train': _objects_per_image(runner.train_loop.dataloader.dataset)}
    notes.append(_few_queries(runner, counts['train']))
    notes.append(_combined_otherwise(runner))
    if runner.val_loop is not None:
        counts['val'] = _objects_per_image(runner.val_loop.dataloader.dataset)
        notes.append(_dense_scenes(runner, counts['val']))
        notes.append(_unseen_classes(runner))
        notes.append(_trained_on_too(runner))
    for split, numbers in counts.items():
        if len(numbers) and not numbers.any():
            result = 'nothing can be learnt' if split == 'train' else 'no metric is defined, no best.pth chosen'
            notes.append(f'none of the {len(numbers):,} {split} images shows an object: {result}')
    for split, need, _, (lacking, total) in _needs(runner):
        if need == 'segm' and 0 < lacking < total:
            used = 'learnt' if split == 'train' else 'measured'
            notes.append(
                f'{lacking:,} of the {total:,} {split} objects lack an outline: their boxes are {used} as their masks'
            )
    yield from filter(None, notes)


def few_steps(runner: Runner) -> tuple[int, str, str] | None:
    """Return the optimiser's steps, what they are made of, and the remedy, where they are too few to learn much."""
    loop, summed = runner.train_loop, runner.optim_wrapper.accumulate
    steps = loop.max_iters // summed
    head = getattr(unwrap(runner.model), 'head', None)
    from_random = getattr(head, 'few_steps_from_random', BaseHead.few_steps_from_random)
    if steps >= (_FEW_STEPS if _starts_from_weights(runner) else from_random):
        return None
    made_of = f'{count_text(loop.max_epochs, "epoch")} of {count_text(loop.epoch_length, "batch", "batches")}'
    made_of += f', the gradients of {summed} together,' if summed > 1 else ''
    remedy = 'more epochs, or a smaller batch_size' + ', or optim_wrapper.accumulate=1' * (summed > 1)
    if not _starts_from_weights(runner):
        remedy += ', or load_from=PATH (or a name of `detkit zoo list`) to start from trained weights'
    return steps, made_of, remedy


def _combined_otherwise(runner: Runner) -> str | None:
    """Return a note on a detector whose gradients are not combined as its losses are, so that steps have other sizes.

    Classifiers have no note: ultralytics sums the gradients of their means.
    """
    model, wrapper = unwrap(runner.model), runner.optim_wrapper
    head = getattr(model, 'head', None)
    found, wanted = getattr(wrapper, 'reduction', None), getattr(head, 'loss_reduction', None)
    parts = wrapper.accumulate * runner.world_size
    if None in (found, wanted) or wanted == found or parts == 1 or getattr(model, 'classifies', False):
        return None
    made_of, size = ('means', f'{parts} times') if wanted == 'mean' else ('sums', f'1/{parts} of')
    return (
        f'the losses of {type(head).__name__} are {made_of} over the images of a batch, but optim_wrapper.reduction is '
        f'{found!r}: a gradient is {size} that of one batch of as many images; write optim_wrapper.reduction={wanted}'
    )


def _trained_on_too(runner: Runner) -> str | None:
    """Return a note on validation images that are trained on, as where ``split`` reaches one of two joined datasets."""
    trained, validated = (
        (path for leaf in _leaves_with_records(loop.dataloader.dataset) for path in leaf.records.paths())
        for loop in (runner.train_loop, runner.val_loop)
    )
    validated = set(validated)
    both = validated.intersection(trained)
    if not both:
        return None
    return (
        f'{len(both):,} of the {len(validated):,} validation images are trained on too, such as {min(both)}: '
        'validation does not measure what is found in other images'
    )


def check_annotations(runner: Runner) -> None:
    """Refuse data none of whose objects has what the task learns or the validation measures.

    Raises:
        ConfigError: names the config to use instead.
    """
    for split, need, who, (lacking, total) in _needs(runner):
        if total and lacking == total:
            what, source = NEEDS[need]
            counted = 'images' if need == 'label' else 'objects'
            raise ConfigError(
                f'{who} needs {what}, but none of the {total:,} {split} {counted} has one. For boxes alone use '
                f'{_detection_config(runner)}; otherwise data with {source}.'
            )


def _needs(runner: Runner) -> Iterator[tuple[str, str, str, tuple[int, int]]]:
    """Yield a split, what is needed of its data, who needs it, and (objects that lack it, objects)."""
    needed = {('train', NEED_OF_TASK.get(str(runner.cfg.get('task')))): f'task {runner.cfg.get("task")!r}'}
    for metric in runner.val_evaluator.metrics if runner.val_loop is not None else ():
        for need in metric.needs if isinstance(metric, GatheredMetric) else ():
            needed.setdefault(('val', need), type(metric).__name__)
    loops = {'train': runner.train_loop, 'val': runner.val_loop}
    for (split, need), who in needed.items():
        if need in NEEDS:
            yield split, need, who, _count_lacking(loops[split].dataloader.dataset, need)


def _count_lacking(dataset: Any, need: str) -> tuple[int, int]:
    leaves = [leaf.records for leaf in leaf_datasets(dataset) if isinstance(leaf, RecordDataset)]
    counts = [records.count_lacking(need) for records in leaves if isinstance(records, Records)]
    return sum(lacking for lacking, _ in counts), sum(total for _, total in counts)


def _detection_config(runner: Runner) -> str:
    """Return the config of the run's family and data for detection."""
    given, task = Path(runner.cfg.filename or ''), runner.cfg.get('task')
    other = given.with_name('det_' + given.name.removeprefix(f'{task}_')) if given.name else given
    return display_path(other) if other != given and other.is_file() else 'a config of the task det'


def check_batch_of_one(runner: Runner) -> None:
    """Refuse a training whose batch of one image cannot be normalised.

    Raises:
        ConfigError: batch normalisation sees a single value a channel.
    """
    loader = runner.train_loop.dataloader
    sampler = loader.batch_sampler
    size, count = getattr(sampler, 'batch_size', 0), getattr(sampler, 'epoch_size', len(loader.dataset))
    last = count % size if size and not getattr(sampler, 'drop_last', False) else 0
    synchronised = runner.world_size > 1 and runner.cfg.get('sync_bn', False)
    if synchronised or 1 not in (size, last, count):
        return
    model = deepcopy(unwrap(runner.model)).cpu().float().train()
    inputs = loader.make_batch([0])['inputs']
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
    start = f'the weights of {runner.started_from["checkpoint"]}' if runner.started_from else 'random weights'
    taken = count_text(steps, 'step')
    verb = 'is' if runner.train_loop.max_epochs == 1 else 'are'
    return f'{made_of} {verb} {taken} of the optimiser from {start}: too few to learn much; {remedy}'


def _starts_from_weights(runner: Runner) -> bool:
    return bool(runner.started_from or runner.resumed)


def _few_queries(runner: Runner, counts: np.ndarray) -> str | None:
    head = getattr(unwrap(runner.model), 'head', None)
    most = int(counts.max(initial=0))
    if not isinstance(head, QueryHead) or most <= head.num_queries:
        return None
    queries = head.num_queries
    return (
        f'{int((counts > queries).sum()):,} train images show more objects (up to {most:,}) than the {queries:,} '
        f'queries of {type(head).__name__}, each of which learns and finds one: set model.head.num_queries='
        f'{_round_up(most)}'
    )


def _dense_scenes(runner: Runner, counts: np.ndarray) -> str | None:
    metrics = [metric for metric in runner.val_evaluator.metrics if isinstance(metric, GatheredMetric)]
    most = int(counts.max(initial=0))
    for metric in metrics:
        limit = max(metric.max_dets, default=most)
        dense = int((counts > limit).sum())
        if dense:
            return (
                f'{dense:,} val images show more objects (up to {most:,}) than the {limit} predictions '
                f'an image that {type(metric).__name__} counts: set its max_dets=(1, 10, {_round_up(most)}) in '
                f'val_evaluator and test_evaluator, and model.head.test_cfg.max_per_img no lower'
            )
    return None


def _unseen_classes(runner: Runner) -> str | None:
    """Say where most classes of the validation images cannot be learnt, so that its results hang on a few."""
    seen, measured = (
        _objects_per_class(loop.dataloader.dataset, len(runner.classes)) > 0
        for loop in (runner.train_loop, runner.val_loop)
    )
    unseen = int((measured & ~seen).sum())
    if not seen.any() or 2 * unseen <= int(measured.sum()):
        return None
    return (
        f'{unseen:,} of the {int(measured.sum()):,} classes that val shows have no object in train and cannot be '
        'learnt; test.py --split train shows what was learnt'
    )


def _objects_per_class(dataset: Any, num_classes: int) -> np.ndarray:
    counts = [leaf.records.count_labels(num_classes) for leaf in _leaves_with_records(dataset)]
    return np.sum([np.zeros(num_classes, np.int64), *counts], 0)


def _leaves_with_records(dataset: Any) -> list[RecordDataset]:
    leaves = [leaf for leaf in leaf_datasets(dataset) if isinstance(leaf, RecordDataset)]
    return [leaf for leaf in leaves if isinstance(leaf.records, Records)]


def _round_up(count: int) -> int:
    return -(-count // 100) * 100


def _objects_per_image(dataset: Any) -> np.ndarray:
    """Return ``(I,)``: how many objects each image has to learn from; an image of one class as a whole has one."""
    records = [leaf.records for leaf in _leaves_with_records(dataset)]
    counts = [np.bincount(own.labelled()[0], minlength=len(own)) for own in records]
    return np.concatenate([np.zeros(0, np.int64), *counts])
