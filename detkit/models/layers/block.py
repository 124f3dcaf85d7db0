"""Building the blocks that backbones and necks are given by config."""

from __future__ import annotations

from torch import nn

from detkit.config.signatures import arguments_of
from detkit.registry import LAYERS

from .activation import Activation


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
