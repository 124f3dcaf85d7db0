"""The order of a pipeline's transforms, by the stage that each declares."""

import inspect
from collections.abc import Iterator
from typing import Any

from detkit.config.origins import KeyPath
from detkit.config.top_level import dataset_paths
from detkit.registry import DATASETS, TRANSFORMS
from detkit.utils.errors import nearest

# The fault of a transform of one stage that stands behind a later stage, or in front of an earlier one.
_REASONS = {
    'load': 'reads the image, so it is the first transform',
    'geometry': 'changes where things are before Render draws them',
    'render': 'draws what the transforms of geometry have arranged',
    'pixels': 'changes the pixels that Render has drawn',
    'pack': 'takes what all other transforms have made, so it is the last',
}
_EXAMPLES = {'load': 'LoadImageFromFile', 'render': 'Render', 'pack': 'PackInputs'}


def pipeline_mistakes(loader: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """Return what is wrong with the order of the transforms of a data loader's datasets, with the keys.

    A dataset declares the stages that its samples go through (``pipeline_stages``), a transform the one it belongs to
    (``stage``). Transforms and datasets without such an attribute, as a user's own may be, are not judged.
    """
    for dataset_path, dataset in dataset_paths(loader, path):
        factory = _found(DATASETS, dataset.get('type'))
        stages, pipeline = getattr(factory, 'pipeline_stages', ()), dataset.get('pipeline')
        if stages and isinstance(pipeline, list | tuple):
            yield from _mistakes(pipeline, stages, (*dataset_path, 'pipeline'))
            yield from _repeated(pipeline, (*dataset_path, 'pipeline'))
            yield from _cut_when_turned(pipeline, (*dataset_path, 'pipeline'))
            for index, step in enumerate(pipeline if dataset.get('test_mode') else ()):
                for name in _mixing(step):
                    yield (
                        (*dataset_path, 'pipeline', index),
                        f'{name} mixes images, but a dataset with test_mode=True is for validation and '
                        'prediction, one image at a time; write a pipeline without it',
                    )


def _mistakes(pipeline: list, stages: tuple[str, ...], path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    for index, step, stage in _staged(pipeline):
        if stage not in stages:
            text = f'{_name(step)} has stage = {stage!r}, but the stages are {", ".join(stages)}'
            yield (*path, index), f'{text}.{nearest(stage, stages)}'
    steps = [(index, step, stages.index(stage)) for index, step, stage in _staged(pipeline) if stage in stages]
    for (_, before, earlier), (index, step, later) in zip(steps, steps[1:], strict=False):
        if later < earlier:
            yield (
                (*path, index),
                f'{_name(step)} {_REASONS[stages[later]]}; it comes behind {_name(before)}; put it in front of that',
            )
        elif later == earlier and stages[later] in _EXAMPLES:
            yield (*path, index), f'there are two transforms that do this: {_name(before)} and {_name(step)}; drop one'
    found = {stage for _, _, stage in steps}
    unknown = any(_stage(step) is None for step in pipeline)  # a user's own transform may do what is missing
    for number, stage in enumerate(stages):
        if stage in _EXAMPLES and number not in found and not unknown:
            where = {'load': 'at the beginning', 'pack': 'at the end'}.get(stage, 'behind the transforms of geometry')
            yield path, f'no transform {_verb(stage)}; add dict(type={_EXAMPLES[stage]!r}) {where}'


def _mixing(step: Any) -> Iterator[str]:
    """Yield the names of the transforms that mix images: a step itself, or those inside its lists of transforms."""
    if getattr(_factory(step), 'mixes', False):
        yield _name(step)
    for inner in _inner(step):
        yield from _mixing(inner)


def _inner(step: Any) -> list[Any]:
    """Return the transforms inside a step, such as those of ``RandomChoice``."""
    return [inner for branch in _branches(step) for inner in (branch if isinstance(branch, list | tuple) else [branch])]


def _branches(step: Any) -> list | tuple:
    branches = step.get('transforms') if isinstance(step, dict) else None
    return branches if isinstance(branches, list | tuple) else ()


def _repeated(pipeline: list, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    for index, step in enumerate(pipeline):
        if getattr(_factory(step), 'size_arguments', ()) and step in pipeline[:index]:
            yield (*path, index), f'{_name(step)} is there twice with the same arguments; drop one'


def _cut_when_turned(pipeline: list, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """Yield the steps that cut what a step before them has turned, sheared or tilted."""
    turning: list[str] = []
    for index, step in enumerate(pipeline):
        branches = [branch if isinstance(branch, list | tuple) else [branch] for branch in _branches(step)] or [[step]]
        before, turning = turning, list(turning)
        for branch in branches:
            turned = list(before)
            for inner in branch:
                if turned and getattr(_factory(inner), 'cuts', False):
                    text = f'{_name(inner)} cuts the sample, which {turned[-1]} before it may have turned, sheared or'
                    yield (*path, index), f'{text} tilted; put {_name(inner)} in front of {turned[-1]}'
                if _turns(inner):
                    turned.append(_name(inner))
            turning += turned[len(before) :]


def _turns(step: Any) -> bool:
    factory = _factory(step)
    names = getattr(factory, 'turning_arguments', ())
    if not isinstance(step, dict):
        return any(getattr(step, name) for name in names)
    known = inspect.signature(factory).parameters if names else {}  # of a class of one's own, perhaps not these
    return any(step.get(name, known[name].default if name in known else False) for name in names)


def _verb(stage: str) -> str:
    return {'load': 'reads the image', 'render': 'draws the image', 'pack': 'makes the input of the network'}[stage]


def _staged(pipeline: list) -> list[tuple[int, Any, str]]:
    return [(i, step, stage) for i, step in enumerate(pipeline) if (stage := _stage(step)) is not None]


def _stage(step: Any) -> str | None:
    stage = getattr(_factory(step), 'stage', None)
    # a choice of transforms belongs where these do
    return stage or next(filter(None, map(_stage, _inner(step))), None)


def _factory(step: Any) -> Any:
    return _found(TRANSFORMS, step.get('type')) if isinstance(step, dict) else type(step)


def _name(step: Any) -> str:
    return str(step['type'] if isinstance(step, dict) else type(step).__name__)


def _found(registry: Any, kind: Any) -> Any:
    return registry.get(kind) if isinstance(kind, str) else kind
