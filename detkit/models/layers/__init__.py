"""Building blocks that backbones, necks and heads share."""

from .attention import AttentionMaps, MultiHeadAttention
from .block import build_block, scale_blocks, scale_channels
from .conv_module import ACTIVATIONS, LEAKY_RELU, Activation, ConvModule, build_activation
from .csp import C3, Bottleneck, C2f
from .detr_transformer import DETRTransformer
from .fuse import fuse_conv_bn
from .keyed_dropout import KeyedDropout, keyed_dropout
from .mask_decoder import MaskDecoder
from .mlp import MLP
from .normalization import FrozenBatchNorm2d, set_batch_norm
from .position_encodings import LearnedPositionEncoding, SinePositionEncoding
from .sync_batch_norm import SyncBatchNorm2d, synchronise_batch_norm
from .upsampling import BlockDeconv2d, upsample_nearest

__all__ = [
    'ACTIVATIONS',
    'Activation',
    'AttentionMaps',
    'BlockDeconv2d',
    'Bottleneck',
    'C2f',
    'C3',
    'ConvModule',
    'DETRTransformer',
    'FrozenBatchNorm2d',
    'KeyedDropout',
    'LEAKY_RELU',
    'LearnedPositionEncoding',
    'MLP',
    'MaskDecoder',
    'MultiHeadAttention',
    'SinePositionEncoding',
    'SyncBatchNorm2d',
    'build_activation',
    'build_block',
    'fuse_conv_bn',
    'keyed_dropout',
    'scale_blocks',
    'scale_channels',
    'set_batch_norm',
    'synchronise_batch_norm',
    'upsample_nearest',
]
