"""Backbones: images to feature maps, fine to coarse."""

from .csp_darknet import CSPDarknet

__all__ = ['CSPDarknet']
