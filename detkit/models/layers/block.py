"""The blocks of backbones and necks: built by config, and scaled by a family's depth and width factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

from torch import nn

from detkit.config.signatures import arguments_of
from detkit.registry import LAYERS
from detkit.utils.errors import ComponentError, ConfigError

from .conv_module import Activation, ConvModule, SeparableConv


def build_layer(cfg: dict, act: Activation) -> nn.Module:
    """Build a layer of a registered class, with the activation ``act`` if the class takes one and ``cfg`` has none."""
    cls = LAYERS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
    if cls is not None and 'act' in arguments_of(cls).names:
        cfg = {'act': act, **cfg}
    return LAYERS.build(cfg)


def build_block(block: dict, in_channels: int, out_channels: int, num_blocks: int, act: Activation) -> nn.Module:
    """Build a block of a registered class, such as ``dict(type='C2f', shortcut=True)``.

    Args:
        block: config of the block; an entry ``num_blocks`` takes precedence over the argument.
        in_channels, out_channels: channels before and after.
        num_blocks: number of bottlenecks, or of whatever the block repeats.
        act: activation of the component that holds the block, passed on if the block's class takes one.

    Raises:
        ConfigError: ``block`` has other channels.
    """
    return build_layer(dict(num_blocks=num_blocks) | _with_channels(block, in_channels, out_channels), act)


def build_downsample(
    cfg: dict | None, in_channels: int, out_channels: int, act: Activation, depthwise: bool = False
) -> nn.Module:
    """Build a layer that halves a map.

    Args:
        cfg: config of a registered class, such as ``dict(type='SCDown')``; None for one 3x3 convolution.
        in_channels, out_channels: channels before and after.
        act: activation, see ``build_layer``.
        depthwise: whether that convolution is a ``SeparableConv``.

    Raises:
        ConfigError: ``cfg`` has other channels.
    """
    if cfg is None:
        conv = SeparableConv if depthwise else ConvModule
        return conv(in_channels, out_channels, 3, stride=2, act=act)
    return build_layer(_with_channels(cfg, in_channels, out_channels), act)


def _with_channels(cfg: dict, in_channels: int, out_channels: int) -> dict:
    """Return the config of a layer with the channels that what holds it gives it."""
    channels = dict(in_channels=in_channels, out_channels=out_channels)
    for name, value in channels.items():
        if cfg.get(name, value) != value:
            kind = cfg['type'] if isinstance(cfg['type'], str) else cfg['type'].__name__
            raise ComponentError(
                f'{kind}: {name} is {cfg[name]!r}, but the component that holds it has {value} channels there; leave '
                f'{name} out',
                kind,
                cfg,
            )
    return channels | cfg


def per_position(given: Sequence | Mapping | None, count: int, owner: str, name: str) -> list:
    """Return one entry for each of ``count`` positions: those of a list, or a single one for all.

    Raises:
        ConfigError: the list has another length.
    """
    if given is None or isinstance(given, Mapping):
        return [given] * count
    if len(given) != count:
        raise ConfigError(f'{owner}: {len(given)} entries of {name}, but there are {count} positions')
    return list(given)


def scale_channels(channels: int, widen_factor: float, max_channels: int | None = None) -> int:
    """Return ``channels``, at most ``max_channels``, times the width factor, rounded up to a multiple of 8."""
    capped = channels if max_channels is None else min(channels, max_channels)
    return ceil(capped * widen_factor / 8) * 8


def scale_blocks(num_blocks: int, deepen_factor: float) -> int:
    """Return ``num_blocks`` times the depth factor, rounded, at least 1."""
    return max(round(num_blocks * deepen_factor), 1)
