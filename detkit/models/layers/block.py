"""The blocks of backbones and necks: built by config, and scaled by a family's depth and width factors."""

from __future__ import annotations

from math import ceil

from torch import nn

from detkit.config.signatures import arguments_of
from detkit.registry import LAYERS

from .conv_module import Activation


def build_block(block: dict, in_channels: int, out_channels: int, num_blocks: int, act: Activation) -> nn.Module:
    """A block of a registered class, such as ``dict(type='C2f', shortcut=True)``.

    Args:
        block: its config; what it says itself wins.
        in_channels, out_channels: channels before and after.
        num_blocks: repeats of what the block repeats.
        act: activation of the component that holds it; handed on where the block's class takes one.
    """
    cfg = {**dict(in_channels=in_channels, out_channels=out_channels, num_blocks=num_blocks), **block}
    cls = LAYERS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
    if cls is not None and 'act' in arguments_of(cls).names:
        cfg.setdefault('act', act)
    return LAYERS.build(cfg)


def scale_channels(channels: int, widen_factor: float, max_channels: int | None = None) -> int:
    """``channels`` capped, times the width factor, rounded up to a multiple of 8."""
    capped = channels if max_channels is None else min(channels, max_channels)
    return ceil(capped * widen_factor / 8) * 8


def scale_blocks(num_blocks: int, deepen_factor: float) -> int:
    """``num_blocks`` times the depth factor, rounded, at least 1."""
    return max(round(num_blocks * deepen_factor), 1)
