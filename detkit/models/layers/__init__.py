"""Building blocks that backbones, necks and heads share."""

from .activation import LEAKY_RELU, build_activation
from .attention import MultiHeadAttention
from .batch_norm import set_batch_norm
from .block import build_block
from .block_deconv import BlockDeconv2d
from .bottleneck import Bottleneck
from .c2f import C2f
from .c3 import C3
from .conv_module import ConvModule
from .detr_transformer import DETRTransformer
from .frozen_batch_norm import FrozenBatchNorm2d
from .fuse import fuse_conv_bn
from .learned_position_encoding import LearnedPositionEncoding
from .mlp import MLP
from .scaling import scale_blocks, scale_channels
from .sine_position_encoding import SinePositionEncoding
from .upsample import upsample_nearest

__all__ = [
    'BlockDeconv2d',
    'Bottleneck',
    'C2f',
    'C3',
    'ConvModule',
    'DETRTransformer',
    'FrozenBatchNorm2d',
    'LEAKY_RELU',
    'LearnedPositionEncoding',
    'MLP',
    'MultiHeadAttention',
    'SinePositionEncoding',
    'build_activation',
    'build_block',
    'fuse_conv_bn',
    'scale_blocks',
    'scale_channels',
    'set_batch_norm',
    'upsample_nearest',
]
