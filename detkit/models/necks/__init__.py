"""Necks: feature maps to feature maps."""

from .pan import PAN
from .spp import SPP

__all__ = ['PAN', 'SPP']
