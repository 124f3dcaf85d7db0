"""Building blocks that backbones, necks and heads share."""

from .block_deconv import BlockDeconv2d
from .bottleneck import Bottleneck
from .c2f import C2f
from .conv_module import ConvModule
from .fuse import fuse_conv_bn
from .scaling import scale_blocks, scale_channels
from .upsample import upsample_nearest

__all__ = [
    'BlockDeconv2d', 'Bottleneck', 'C2f', 'ConvModule', 'fuse_conv_bn', 'scale_blocks', 'scale_channels',
    'upsample_nearest',
]
