"""Building blocks that backbones, necks and heads share."""

from .attention import MultiHeadAttention
from .block_deconv import BlockDeconv2d
from .bottleneck import Bottleneck
from .c2f import C2f
from .conv_module import ConvModule
from .detr_transformer import DETRTransformer
from .fuse import fuse_conv_bn
from .learned_position_encoding import LearnedPositionEncoding
from .mlp import MLP
from .scaling import scale_blocks, scale_channels
from .sine_position_encoding import SinePositionEncoding
from .upsample import upsample_nearest

__all__ = [
    'MLP', 'BlockDeconv2d', 'Bottleneck', 'C2f', 'ConvModule', 'DETRTransformer', 'LearnedPositionEncoding',
    'MultiHeadAttention', 'SinePositionEncoding', 'fuse_conv_bn', 'scale_blocks', 'scale_channels', 'upsample_nearest',
]
