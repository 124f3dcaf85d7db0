"""Wiring: each component's incoming channels and strides are filled in from the component before it.

A config need not repeat what the backbone states: where a neck's or a head's ``in_channels``, ``in_strides`` or
``strides`` are left out they are filled in, and where they are given they are checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from detkit.config.signatures import arguments_of
from detkit.models.base_module import Sequential
from detkit.registry import BACKBONES, HEADS, NECKS, Registry, no_such_part
from detkit.structures.data_sample import DetDataSample
from detkit.utils.errors import ComponentError, ConfigError, nearest

# Names that a component may give to the strides of its incoming maps.
_STRIDE_NAMES = ('in_strides', 'strides')


class Output(NamedTuple):
    """Name of a component, for error texts, and the channels and strides of its maps, fine to coarse."""

    source: str
    channels: tuple[int, ...]
    strides: tuple[int, ...]


def build_backbone(cfg: dict | nn.Module, image_channels: int | None = None) -> tuple[nn.Module, Output]:
    """Build a backbone, unless it is already built, and return it with its output.

    Args:
        cfg: its config, or itself.
        image_channels: the channels of the images that it is given, where that is known.

    Raises:
        ConfigError: ``in_channels`` is another number, or it lacks ``out_channels`` or ``out_strides``, from which
            everything behind it is wired.
    """
    in_channels = cfg.get('in_channels') if isinstance(cfg, dict) else None
    if None not in (in_channels, image_channels) and in_channels != image_channels:
        raise ConfigError(
            f'backbone.in_channels is {in_channels!r}, but images have {image_channels} channels, grey ones too; leave '
            'in_channels out'
        )
    backbone = BACKBONES.build(cfg) if isinstance(cfg, dict) else cfg
    label = f"backbone '{type(backbone).__name__}'"
    return backbone, Output(label, *(_declared(backbone, name, label) for name in ('out_channels', 'out_strides')))


def build_necks(cfg: dict | list[dict] | None, before: Output) -> tuple[Sequential | None, Output]:
    """Build a neck of one part, of several that run in order, or of none."""
    if not cfg:
        return None, before
    parts, output = Sequential(), before
    several = isinstance(cfg, (list, tuple))
    for index, part in enumerate(cfg if several else [cfg]):
        neck, output = build_neck(part, output, f'neck[{index}]' if several else 'neck')
        parts.append(neck)
    return parts, output


def build_neck(cfg: dict | nn.Module, before: Output, label: str = 'neck') -> tuple[nn.Module, Output]:
    """Build one part of a neck behind ``before``.

    A part that has no ``out_strides`` and returns as many maps as it takes is assumed to keep their strides.

    Args:
        cfg: the part's config, or the part already built.
        before: output of the component before it.
        label: the part's name in the config, e.g. ``'neck[1]'``.
    """
    neck, label = _build_wired(cfg, NECKS, before, label)
    channels = _declared(neck, 'out_channels', label)
    if not hasattr(neck, 'out_strides') and len(channels) == len(before.strides):
        return neck, Output(label, channels, before.strides)
    return neck, Output(label, channels, _declared(neck, 'out_strides', label))


def build_head(cfg: dict | nn.Module, before: Output) -> nn.Module:
    """Build a head behind ``before``."""
    return _build_wired(cfg, HEADS, before, 'head')[0]


def refuse_empty_layers(model: nn.Module) -> None:
    """Raise ``ConfigError`` for a layer without channels, whose width its component computed as 0."""
    for name, param in model.named_parameters():
        if not param.numel():
            raise ConfigError(
                f'{name} has the shape {tuple(param.shape)}, and so no values: what its width is computed from '
                '(channels, widths, ratios) is too small'
            )


def with_wired(cfg: Mapping[str, Any], label: str, **wired: Any) -> dict[str, Any]:
    """Return the config of a part of a head, with the arguments that follow from the head.

    Args:
        cfg: the part's config.
        label: the name of the head's argument, for the error's text.
        wired: the arguments.

    Raises:
        ConfigError: the config gives another value for one of them.
    """
    for name, value in wired.items():
        given = cfg.get(name)
        if given is not None and _listed(given) != _listed(value):
            raise ConfigError(
                f'{label}: {name} is {_listed(given)}, but {_listed(value)} follows from the head around it; leave '
                f'{name} out'
            )
    return {**cfg, **wired}


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def check_feats(feats: tuple[Tensor, ...], component: nn.Module, kind: str) -> tuple[Tensor, ...]:
    """Return ``feats``, the maps that a backbone or a neck returned.

    Raises:
        ComponentError: they are no tuple of maps, or not of the channels that the component's ``out_channels`` says.
    """
    name = type(component).__name__
    if not isinstance(feats, tuple | list):
        raise ComponentError(
            f'{kind} {name!r} returns a {type(feats).__name__}; it must return a tuple of feature maps, fine to '
            'coarse, be it of one',
            name,
        )
    found, declared = tuple(feat.shape[1] for feat in feats), tuple(component.out_channels)
    if found != declared:
        raise ComponentError(
            f'{kind} {name!r} says out_channels = {declared}, but returns maps of {found} channels; what is behind it '
            'is built from out_channels, so make the two agree',
            name,
        )
    return feats


def check_losses(losses: dict[str, Tensor], head: nn.Module) -> dict[str, Tensor]:
    """Return ``losses``, the dict that a head's ``loss`` returned.

    Raises:
        ComponentError: they are no dict with a ``loss_*``, or one that is trained on is no scalar tensor.
    """
    title = type(head).__name__
    if not isinstance(losses, dict) or not any(name.startswith('loss_') for name in losses):
        found = (
            f'a dict of {", ".join(losses) or "nothing"}' if isinstance(losses, dict) else f'a {type(losses).__name__}'
        )
        raise ComponentError(
            f"head '{title}': loss returns {found}, but must return a dict of scalar tensors, of which those named "
            "loss_… are trained on; write {'loss_cls': …}",
            title,
        )
    for name, value in losses.items():
        if not name.startswith('loss_'):
            continue
        if not isinstance(value, Tensor):
            raise ComponentError(
                f"head '{title}': {name} is a {type(value).__name__}, but must be a scalar tensor with a gradient",
                title,
            )
        if value.ndim:
            raise ComponentError(
                f"head '{title}': {name} has the shape {tuple(value.shape)}, but a loss is one number; "
                'the loss behind it must return the sum divided by avg_factor (detkit.protocols)',
                title,
            )
    return losses


def check_results(results: list[DetDataSample], count: int, head: nn.Module) -> list[DetDataSample]:
    """Return ``results``, the list that a head's ``predict`` returned for ``count`` images.

    Raises:
        ComponentError: it is no list with a data sample for each image.
    """
    title = type(head).__name__
    if not isinstance(results, list) or [type(result) for result in results] != [DetDataSample] * count:
        found = f'a list of {len(results)} objects' if isinstance(results, list) else f'a {type(results).__name__}'
        raise ComponentError(
            f"head '{title}': predict returns {found} for {count} images, but must return a list with a DetDataSample "
            'for each image',
            title,
        )
    return results


def _build_wired(cfg: dict | nn.Module, registry: Registry, before: Output, label: str) -> tuple[nn.Module, str]:
    """Fill and check a config's incoming channels and strides, then build it; only check what is built already."""
    if not isinstance(cfg, dict):
        label = f"{label} '{type(cfg).__name__}'"
        for name, value in _incoming(before).items():
            _check(label, name, getattr(cfg, name, None), value, before.source)
        return cfg, label
    kind = cfg.get('type')
    cls = registry.get(kind) if isinstance(kind, str) else kind
    label = f"{label} '{getattr(cls, '__name__', kind)}'"
    if cls is None:
        raise ConfigError(f'{label}: {no_such_part(registry.name, kind)}{nearest(kind, registry.names())}')
    accepted = arguments_of(cls).names
    wired = dict(cfg)
    for name, value in _incoming(before).items():
        given = wired.get(name)
        if given is not None:
            _check(label, name, given, value, before.source)
        elif name in accepted:
            wired[name] = value
    return registry.build(wired), label


def _incoming(before: Output) -> dict[str, tuple[int, ...]]:
    return {'in_channels': before.channels, **dict.fromkeys(_STRIDE_NAMES, before.strides)}


def _check(label: str, name: str, given, expected: tuple[int, ...], source: str) -> None:
    if given is None:
        return
    found = tuple(given) if isinstance(given, (list, tuple)) else (given,)
    if found != expected:
        raise ConfigError(
            f'{label}: {name} is {found}, but {source} before it gives {expected}. '
            f'Leave {name} out to have it filled in, or make the two agree.'
        )


def _declared(component: nn.Module, name: str, label: str) -> tuple[int, ...]:
    value = getattr(component, name, None)
    if value is None:
        raise ConfigError(f'{label} has no attribute {name}; set it to a tuple with one number for each map it returns')
    if not isinstance(value, tuple | list):
        raise ConfigError(
            f'{label}: {name} is {value!r}, but must be a tuple with one number for each map it returns, such as '
            f'({value!r},)'
        )
    return tuple(value)
