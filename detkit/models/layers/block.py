"""The blocks of backbones and necks: built by config, and scaled by a family's depth and width factors."""

from __future__ import annotations

from math import ceil

from torch import nn

from detkit.config.signatures import arguments_of
from detkit.registry import LAYERS

from .conv_module import Activation


def build_block(block: dict, in_channels: int, out_channels: int, num_blocks: int, act: Activation) -> nn.Module:
    """Build a block of a registered class, such as ``dict(type='C2f', shortcut=True)``.

    Args:
        block: config of the block; its entries take precedence over the other arguments.
        in_channels, out_channels: channels before and after.
        num_blocks: number of bottlenecks, or of whatever the block repeats.
        act: activation of the component that holds the block, passed on if the block's class takes one.
    """
    cfg = {**dict(in_channels=in_channels, out_channels=out_channels, num_blocks=num_blocks), **block}
    cls = LAYERS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
    if cls is not None and 'act' in arguments_of(cls).names:
        cfg.setdefault('act', act)
    return LAYERS.build(cfg)


def scale_channels(channels: int, widen_factor: float, max_channels: int | None = None) -> int:
    """Return ``channels``, at most ``max_channels``, times the width factor, rounded up to a multiple of 8."""
    capped = channels if max_channels is None else min(channels, max_channels)
    return ceil(capped * widen_factor / 8) * 8


def scale_blocks(num_blocks: int, deepen_factor: float) -> int:
    """Return ``num_blocks`` times the depth factor, rounded, at least 1."""
    return max(round(num_blocks * deepen_factor), 1)
