"""Building blocks that backbones, necks and heads share."""

from .activation import LEAKY_RELU, Activation, build_activation
from .attention import MultiHeadAttention
from .block import build_block
from .block_deconv import BlockDeconv2d
from .conv_module import ConvModule
from .csp import C3, Bottleneck, C2f
from .detr_transformer import DETRTransformer
from .fuse import fuse_conv_bn
from .mlp import MLP
from .normalization import FrozenBatchNorm2d, set_batch_norm
from .position_encodings import LearnedPositionEncoding, SinePositionEncoding
from .scaling import scale_blocks, scale_channels
from .upsample import upsample_nearest

__all__ = [
    'Activation',
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
