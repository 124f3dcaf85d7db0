"""Backbones: images to feature maps, fine to coarse."""

from .csp_darknet import CSPDarknet
from .darknet import Darknet
from .resnet import ResNet

__all__ = ['CSPDarknet', 'Darknet', 'ResNet']
