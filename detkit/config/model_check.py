"""The model of a config, built without memory, against the config's task, metrics and image sizes."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from detkit.config.executed import plain
from detkit.config.locate import located
from detkit.config.origins import KeyPath, dotted
from detkit.config.own_parts import NEEDS
from detkit.config.resolve import LoadedConfig
from detkit.config.top_level import dataset_paths
from detkit.registry import DETECTORS, METRICS, MODEL_PARTS, TRANSFORMS, is_own
from detkit.utils.errors import ConfigError
from detkit.utils.without_memory import without_memory

# The annotations of each task, by the names of ``GatheredMetric.needs`` and ``BaseHead.provides``.
_OF_TASK = {'det': 'bbox', 'seg': 'segm', 'pose': 'keypoints', 'obb': 'rbbox', 'cls': 'label', 'panoptic': 'panoptic'}


def check_model(config: LoadedConfig, trains: bool = True) -> None:
    """Refuse a model that cannot be built, or does not do what the rest of the config asks of it.

    It is built on torch's meta device, which takes some 30 ms and draws nothing from a random generator. Models with a
    user's own parts are left to the run: their constructors may read files.

    Args:
        config: the config.
        trains: whether training images are checked, too.

    Raises:
        ConfigError: names the key, the file and the line.
    """
    model = config.get('model')
    if not isinstance(model, dict) or not _is_ours(model) or (model.get('head') or {}).get('num_classes') is None:
        return
    with located(config):
        built = _build(model)
    if built.classifies != ('label' in built.provides):
        path = config.origins.own_first(('model', 'type'), ('model', 'head', 'type'))
        raise ConfigError(
            f'{config.origins.blame(path)}: {dotted(path)}: {built.detector} does not fit {built.head}, which predicts '
            f'{_listed(built.provides)}; write {"SingleStageDetector" if built.classifies else "ImageClassifier"}, or '
            'take another head'
        )
    checks = (_task_mistakes, _metric_mistakes, *((_sizes, _mask_mistakes) if trains else ()))
    for path, mistake in (found for check in checks for found in check(config, built)):
        raise ConfigError(f'{config.origins.blame(path)}: {dotted(path)}: {mistake}')


@dataclass(frozen=True)
class _Built:
    """The properties of a model that has been built.

    Attributes:
        detector: the detector's class name.
        classifies: whether it learns a label for each image.
        head: the head's class name.
        provides: see ``BaseHead.provides``.
        side: the number of which the sides of its images must be multiples; 1 for any.
        mask_stride: pixels of the image for one of the masks that it learns; None for any.
    """

    detector: str
    classifies: bool
    head: str
    provides: tuple[str, ...]
    side: int
    mask_stride: int | None


# The last models that were built, by the text of their configs; most loads are of one model again.
_built: OrderedDict[str, _Built] = OrderedDict()
_MOST_BUILT = 1024


@runtime_checkable
class LearnsPrototypes(Protocol):
    """A head whose masks are combinations of prototypes, one pixel of which covers ``proto_stride`` of the image's."""

    proto_stride: float


def _build(model: dict[str, Any]) -> _Built:
    """Build a model without memory and return its properties."""
    text = repr(plain(model))
    properties = _built.pop(text, None)
    if properties is None:
        with without_memory():
            built = DETECTORS.build(model)
        head = built.head
        properties = _Built(
            detector=type(built).__name__,
            classifies=built.truth == 'gt_label',
            head=type(head).__name__,
            provides=tuple(head.provides),
            side=max(head.strides) if head.has_whole_cells else 1,
            mask_stride=round(head.proto_stride) if isinstance(head, LearnsPrototypes) else None,
        )
    _built[text] = properties
    if len(_built) > _MOST_BUILT:
        _built.popitem(last=False)
    return properties


def _is_ours(value: Any) -> bool:
    """Return whether all components below ``value`` are detkit's or torch's."""
    if isinstance(value, dict):
        kind = value.get('type')
        part: Callable | None = MODEL_PARTS.get(kind) if isinstance(kind, str) else kind
        return not is_own(part) and all(map(_is_ours, value.values()))
    return not isinstance(value, list | tuple) or all(map(_is_ours, value))


def _task_mistakes(config: LoadedConfig, built: _Built) -> Iterator[tuple[KeyPath, str]]:
    task = config.get('task')
    if task is None:
        return
    path = config.origins.own_first(('task',), ('model', 'head', 'type'))
    if _OF_TASK[task] not in built.provides:
        text = f'task {task!r} asks for {NEEDS[_OF_TASK[task]]}, but {built.head} predicts {_listed(built.provides)}'
        yield path, f'{text}; use the config of a model for this task'
    elif task == 'det' and len(built.provides) > 1:
        text = f"task 'det' gives boxes alone, but {built.head} learns {_listed(built.provides[1:])}"
        yield path, f'{text}; use the config of a detection model'


def _metric_mistakes(config: LoadedConfig, built: _Built) -> Iterator[tuple[KeyPath, str]]:
    for key in ('val_evaluator', 'test_evaluator'):
        metrics = config.get(key) or []
        for index, metric in enumerate(metrics if isinstance(metrics, list | tuple) else [metrics]):
            lacking = [need for need in metric_needs(metric) if need not in built.provides]
            if lacking:
                path = (key, index) if isinstance(metrics, list | tuple) else (key,)
                yield (
                    path,
                    f'{_metric_class(metric).__name__} measures {_listed(lacking)}, but {built.head} predicts '
                    f'{_listed(built.provides)}; take a metric of these',
                )


def metric_needs(metric: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a metric's config measures, see ``GatheredMetric.needs``; nothing is known of some metrics."""
    factory = _metric_class(metric)
    # A user's own constructor may read files.
    return getattr(factory, 'needs', ()) if is_own(factory) else METRICS.build(metric).needs


def _metric_class(metric: Mapping[str, Any]) -> Any:
    kind = metric.get('type')
    return METRICS.get(kind) if isinstance(kind, str) else kind


def _sizes(config: LoadedConfig, built: _Built) -> Iterator[tuple[KeyPath, str]]:
    """Yield the sizes of training images that the largest stride of a dense head does not divide."""
    largest = built.side
    for path, dataset in dataset_paths(config.get('train_dataloader'), ('train_dataloader',)):
        for index, step in enumerate(dataset.get('pipeline') or ()):
            size = step.get('size') if isinstance(step, dict) else None
            sides = size if isinstance(size, list | tuple) else [size]
            factory = TRANSFORMS.get(step['type']) if size and isinstance(step.get('type'), str) else None
            if factory is None or not factory.__module__.startswith('detkit.'):
                continue
            if any(isinstance(side, int) and side % largest for side in sides):
                fitting = tuple(-(-side // largest) * largest for side in sides)
                yield (
                    (*path, 'pipeline', index, 'size'),
                    f'{size} is no multiple of {largest}, the largest stride of {built.head}; write '
                    f'{fitting if isinstance(size, list | tuple) else fitting[0]}',
                )


def _mask_mistakes(config: LoadedConfig, built: _Built) -> Iterator[tuple[KeyPath, str]]:
    """Yield where training images get no masks, or masks of another size than the prototypes that learn them."""
    if 'segm' not in built.provides:
        return
    for path, dataset in dataset_paths(config.get('train_dataloader'), ('train_dataloader',)):
        for index, step in enumerate(dataset.get('pipeline') or ()):
            if not isinstance(step, dict) or step.get('type') not in ('Render', TRANSFORMS.get('Render')):
                continue
            where, stride = (*path, 'pipeline', index), step.get('mask_stride', 4)
            if not step.get('with_masks', False):
                key = ('with_masks',) * ('with_masks' in step)
                yield (*where, *key), f'{built.head} learns masks, but Render draws none; write with_masks=True'
            elif built.mask_stride not in (None, stride):
                key = ('mask_stride',) * ('mask_stride' in step)
                yield (
                    (*where, *key),
                    f'Render draws a pixel of a mask for {stride} of the image, but prototypes of {built.head} have '
                    f'one for {built.mask_stride}, half the finest stride; write mask_stride={built.mask_stride}',
                )


def _listed(names: tuple[str, ...] | list[str]) -> str:
    return ' and '.join(NEEDS.get(name, name) for name in names)
