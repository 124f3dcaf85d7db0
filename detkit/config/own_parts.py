"""Mistakes in the class of a user's own component that show before anything is built."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from torch import nn

from detkit import protocols
from detkit.contracts import protocols_of
from detkit.datasets.transforms.mixing import MixTransform
from detkit.registry import (
    DATA_SAMPLERS,
    DETECTORS,
    HEADS,
    HOOKS,
    METRICS,
    MODEL_PARTS,
    PARAM_SCHEDULERS,
    Registry,
    RegistryGroup,
    is_own,
    package_of,
)
from detkit.utils.errors import nearest
from detkit.utils.priorities import PRIORITIES

# Words for the names in ``GatheredMetric.needs`` and ``BaseHead.provides``.
NEEDS = {
    'bbox': 'boxes',
    'segm': 'masks',
    'keypoints': 'keypoints',
    'rbbox': 'rotated boxes',
    'label': 'the class of the whole image',
    'panoptic': 'panoptic segments',
}


def mistake_in(part: Any, registry: Registry | RegistryGroup, config: Mapping[str, Any]) -> str | None:
    """Return what the class of a user's own component lacks to be used; None for nothing, or for another's component.

    Args:
        part: the class that the config's ``type`` names.
        registry: where it is registered.
        config: the component's config.
    """
    if not isinstance(part, type) or not is_own(part):
        return None
    if registry is MODEL_PARTS:
        registry = next(one for one in MODEL_PARTS.registries if part in one.module_dict.values())
    checks = (_stubs, _CHECKS.get(registry.name, _nothing))
    return next((f'{part.__name__} {mistake}' for check in checks for mistake in check(part, config)), None)


def priority_mistake(priority: Any) -> str | None:
    """Return why a hook cannot have this priority; None where it can, or where none is given."""
    if priority is None:
        return None
    if isinstance(priority, str) and priority.upper() in PRIORITIES:
        return None
    if isinstance(priority, int) and 0 <= priority <= 100:
        return None
    return f'a hook takes priority as 0 (first) to 100 or one of {", ".join(PRIORITIES)}; found {priority!r}'


def _nothing(part: type, config: Mapping[str, Any]) -> Iterator[str]:
    yield from ()


def _stubs(part: type, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the methods of its protocols that a class does not write, so that it has the protocol's empty ones."""
    for protocol in protocols_of(part):
        for name, method in vars(protocol).items():
            if inspect.isfunction(method) and getattr(part, name, None) is method and name != '__init__':
                parent = ', and torch.nn.Module is no parent that gives one' * (name == '__call__')
                yield f'has no method {name}, which {protocol.__name__} (detkit.protocols) asks for{parent}'


def _network(protocol: type) -> Callable[[type, Mapping[str, Any]], Iterator[str]]:
    """Return the check of a network's class against its protocol."""
    follows = _following(protocol)

    def check(part: type, config: Mapping[str, Any]) -> Iterator[str]:
        if not issubclass(part, nn.Module):
            yield f'is no torch.nn.Module; write class {part.__name__}(Module)'
        yield from follows(part, config)

    return check


def _following(protocol: type) -> Callable[[type, Mapping[str, Any]], Iterator[str]]:
    """Return the check of a class for the methods of a protocol."""

    def check(part: type, config: Mapping[str, Any]) -> Iterator[str]:
        for name, method in vars(protocol).items():
            if not inspect.isfunction(method) or name == '__init__':
                continue
            name = 'forward' if name == '__call__' else name
            own = getattr(part, name, None)
            if own is None or (name == 'forward' and own is nn.Module.forward):
                yield f'has no method {name}, which every {protocol.__name__} has (detkit.protocols)'
            elif inspect.isfunction(own):
                yield from _signature(own, name, list(inspect.signature(method).parameters)[1:])

    return check


def _signature(method: Callable, name: str, arguments: list[str], by_name: bool = False) -> Iterator[str]:
    """Yield the mistake of a method that does not take ``arguments``, the first or all of them by position."""
    given: Any = ((None, None), dict.fromkeys(arguments[1:])) if by_name else ((None,) * (len(arguments) + 1), {})
    try:
        signature = inspect.signature(method)
    except ValueError:  # of a function in C that states none
        return
    try:
        signature.bind(*given[0], **given[1])
    except TypeError as error:
        found = ', '.join(signature.parameters)
        yield f'has {name}({found}), but is called as {name}({", ".join(["self", *arguments])}): {error}'


def _detector(part: type, config: Mapping[str, Any]) -> Iterator[str]:
    from mmengine.model import BaseModel

    if not issubclass(part, DETECTORS.base | BaseModel):
        yield f'is no detkit.models.detectors.BaseDetector; write class {part.__name__}(BaseDetector)'
    yield from _network(protocols.Detector)(part, config)


def _hook(part: type, config: Mapping[str, Any]) -> Iterator[str]:
    from mmengine.hooks import Hook as MMEngineHook

    base = HOOKS.base
    if not issubclass(part, base | MMEngineHook):
        yield f'is no Hook; write class {part.__name__}(Hook) with the Hook of {base.__module__.rpartition(".")[0]}'
        return
    mistake = priority_mistake(getattr(part, 'priority', None))
    if mistake:
        yield f'has a wrong priority: {mistake}'
    unused = ('before_save_checkpoint', 'after_load_checkpoint')  # of mmengine's runner
    points = [name for name in dir(base) if name.startswith(('before_', 'after_')) and name not in unused]
    for cls in filter(is_own, part.__mro__):
        for name, method in vars(cls).items():
            if not inspect.isfunction(method) or name.startswith('_'):
                continue
            if name in points:
                arguments = list(inspect.signature(getattr(base, name)).parameters)[1:]
                yield from _signature(method, name, arguments, by_name=True)
            elif name in ('state_dict', 'load_state_dict'):
                yield from _signature(method, name, list(inspect.signature(getattr(base, name)).parameters)[1:])
            elif name in unused:
                yield f'has {name}, which no run calls; return in state_dict what a checkpoint must hold'
            elif not hasattr(base, name) and get_close_matches(name, points, 1, 0.85):
                yield f'has {name}, which is no point of a run, so that nothing calls it.{nearest(name, points, 1)}'


def _transform(part: type, config: Mapping[str, Any]) -> Iterator[str]:
    if issubclass(part, MixTransform):  # it has draw and mix instead
        return
    if not any('__call__' in vars(cls) for cls in part.__mro__):
        yield 'has no method __call__(self, sample), which returns the changed sample'
    elif inspect.isfunction(part.__call__):
        yield from _signature(part.__call__, '__call__', ['sample'])


def _dataset(part: type, config: Mapping[str, Any]) -> Iterator[str]:
    if not hasattr(part, 'peek') and not {'dataset', 'datasets'} & config.keys():
        yield (
            f'has no classmethod peek(cls, cfg), which returns what is known before the data are read, as '
            f"{{'classes': (...)}}; write class {part.__name__}(DetDataset), which has one, and extend it"
        )


def _head(part: type, config: Mapping[str, Any]) -> Iterator[str]:
    yield from _network(protocols.Head)(part, config)
    base = HEADS.base
    if getattr(part, 'predict', None) is base.predict:
        for name in ('decode', 'results'):
            if getattr(part, name) is getattr(base, name):
                yield f'has no method {name}, which every head has that does not write predict (detkit.protocols)'
    reduction = getattr(part, 'loss_reduction', 'sum')
    if reduction not in ('sum', 'mean'):
        yield f"has loss_reduction = {reduction!r}, but it is 'sum' (over the images of a batch) or 'mean'"


def _metric(part: type, config: Mapping[str, Any]) -> Iterator[str]:
    from mmengine.evaluator import BaseMetric

    base = METRICS.base
    if not issubclass(part, BaseMetric):
        yield f'is no metric; write class {part.__name__}({base.__name__}) with the class of {base.__module__}'
    if not issubclass(part, base):
        return
    if part.compute_metrics is base.compute_metrics and part.evaluate is base.evaluate:
        yield "has no method compute_metrics(self, results), which returns a dict such as {'error': 0.5}"
    for name in ('headline', 'lower_is_better', 'needs', 'values'):
        value = getattr(part, name)
        if isinstance(value, str):
            yield f'has {name} = {value!r}, but it is a tuple of names; write ({value!r},)'
    if not part.headline:
        yield "names no result in headline, so that no console line or table shows it; write headline = ('error',)"
    unknown = [need for need in part.needs if need not in NEEDS] if isinstance(part.needs, tuple | list) else []
    if unknown:
        yield f'has needs = {tuple(part.needs)}; there are {", ".join(NEEDS)}.{nearest(unknown[0], NEEDS)}'
    prefix = config.get('prefix') or part.default_prefix
    if not prefix:
        yield "has no default_prefix, with which the names of its results begin; write default_prefix = 'count'"
    others = [
        other for other in map(METRICS.get, METRICS.names()) if isinstance(other, type) and issubclass(other, base)
    ]
    for other in others:
        if other.default_prefix == prefix and not (issubclass(part, other) or issubclass(other, part)):
            yield (
                f'has the prefix {prefix!r}, which is that of {other.__name__} ({package_of(other)}): their results '
                'could not be told apart; choose another default_prefix'
            )


def _optimizer(part: type, config: Mapping[str, Any]) -> Iterator[str]:
    from torch.optim import Optimizer

    if not issubclass(part, Optimizer):
        yield f'is no torch.optim.Optimizer; write class {part.__name__}(Optimizer)'
    else:
        yield from _signature(part.step, 'step', [])


def _schedule(part: type, config: Mapping[str, Any]) -> Iterator[str]:
    from mmengine.optim import _ParamScheduler

    base = PARAM_SCHEDULERS.base
    if not issubclass(part, base | _ParamScheduler):
        yield (
            f'is no schedule; write class {part.__name__}({base.__name__}) with the class of {base.__module__} and '
            'a method factor(self, iteration), which returns the share of the learning rate'
        )


def _sampler(part: type, config: Mapping[str, Any]) -> Iterator[str]:
    base = DATA_SAMPLERS.base
    if not issubclass(part, base):
        yield (
            f'is no {base.__name__}; write class {part.__name__}({base.__name__}) with the class of {base.__module__}, '
            'and a method epoch_order(self, epoch), which returns the indices of the images in their order'
        )
    else:
        yield from _signature(part.epoch_order, 'epoch_order', ['epoch'])


_CHECKS: dict[str, Callable[[type, Mapping[str, Any]], Iterator[str]]] = {
    'detector': _detector,
    'data preprocessor': _network(protocols.DataPreprocessor),
    'backbone': _network(protocols.Backbone),
    'neck': _network(protocols.Neck),
    'head': _head,
    'dataset': _dataset,
    'transform': _transform,
    'hook': _hook,
    'metric': _metric,
    'optimizer': _optimizer,
    'parameter scheduler': _schedule,
    'data sampler': _sampler,
    'vis backend': _following(protocols.LogBackend),
}
