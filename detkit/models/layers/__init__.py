"""Building blocks that backbones, necks and heads share."""

from .activation import LEAKY_RELU, build_activation
from .batch_norm import set_batch_norm
from .block import build_block
from .block_deconv import BlockDeconv2d
from .bottleneck import Bottleneck
from .c2f import C2f
from .c3 import C3
from .conv_module import ConvModule
from .frozen_batch_norm import FrozenBatchNorm2d
from .fuse import fuse_conv_bn
from .scaling import scale_blocks, scale_channels
from .upsample import upsample_nearest

__all__ = [
    'BlockDeconv2d', 'Bottleneck', 'C2f', 'C3', 'ConvModule', 'FrozenBatchNorm2d', 'LEAKY_RELU', 'build_activation',
    'build_block', 'fuse_conv_bn', 'scale_blocks', 'scale_channels', 'set_batch_norm', 'upsample_nearest',
]
