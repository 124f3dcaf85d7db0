"""How a family's depth and width factors act."""

from __future__ import annotations

from math import ceil


def scale_channels(channels: int, widen_factor: float, max_channels: int | None = None) -> int:
    """``channels`` capped, times the width factor, rounded up to a multiple of 8."""
    capped = channels if max_channels is None else min(channels, max_channels)
    return ceil(capped * widen_factor / 8) * 8


def scale_blocks(num_blocks: int, deepen_factor: float) -> int:
    """``num_blocks`` times the depth factor, rounded, at least 1."""
    return max(round(num_blocks * deepen_factor), 1)
