"""Building blocks that backbones, necks and heads share."""

from .blocks import Bottleneck, C2f
from .conv import ConvModule
from .fuse import fuse_conv_bn

__all__ = ['Bottleneck', 'C2f', 'ConvModule', 'fuse_conv_bn']
