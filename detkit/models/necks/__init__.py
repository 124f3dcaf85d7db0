"""Necks: feature maps to feature maps."""

from .last_block import LastBlock
from .pan import PAN
from .spp import SPP

__all__ = ['LastBlock', 'PAN', 'SPP']
