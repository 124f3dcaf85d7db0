"""Building blocks that backbones, necks and heads share."""

from typing import TYPE_CHECKING

from detkit.utils.lazy import lazy_names

if TYPE_CHECKING:
    from detkit.models.layers.attention import AttentionMaps, MultiHeadAttention
    from detkit.models.layers.block import build_block, build_downsample, per_position, scale_blocks, scale_channels
    from detkit.models.layers.c3k2 import C3k, C3k2
    from detkit.models.layers.cib import CIB, C2fCIB, LargeKernelConv
    from detkit.models.layers.conv_module import (
        ACTIVATIONS,
        LEAKY_RELU,
        Activation,
        ConvModule,
        SeparableConv,
        build_activation,
    )
    from detkit.models.layers.csp import C2, C3, Bottleneck, C2f
    from detkit.models.layers.csp_rep import CSPRep, MergingConvs, RepVGGBlock
    from detkit.models.layers.deformable_attention import DeformableAttention
    from detkit.models.layers.deformable_decoder import DeformableDecoder
    from detkit.models.layers.denoising import ContrastiveDenoising
    from detkit.models.layers.detr_transformer import DETRTransformer
    from detkit.models.layers.distribution_decoder import DistributionDecoder
    from detkit.models.layers.elan import RepNCSPELAN4, SCDown
    from detkit.models.layers.fuse import fuse_conv_bn, fused
    from detkit.models.layers.group_selection import GroupSelection
    from detkit.models.layers.image_pooling import ImagePoolingAttention
    from detkit.models.layers.keyed_dropout import KeyedDropout
    from detkit.models.layers.lite_decoder import LiteDecoder
    from detkit.models.layers.mask_decoder import MaskDecoder
    from detkit.models.layers.mlp import MLP
    from detkit.models.layers.normalization import FrozenBatchNorm2d, LayerNorm2d, RMSNorm, set_batch_norm
    from detkit.models.layers.position_encodings import (
        LearnedPositionEncoding,
        SinCosPositionEncoding,
        SinePositionEncoding,
    )
    from detkit.models.layers.psa import C2PSA, PSABlock
    from detkit.models.layers.query_selection import QuerySelection
    from detkit.models.layers.swiglu import SwiGLU
    from detkit.models.layers.sync_batch_norm import SyncBatchNorm2d, synchronise_batch_norm
    from detkit.models.layers.text_guided import MaxSigmoidAttention, TextC2f
    from detkit.models.layers.upsampling import BlockDeconv2d, upsample_nearest

__getattr__ = lazy_names(
    __name__,
    {
        'ACTIVATIONS': 'conv_module',
        'Activation': 'conv_module',
        'AttentionMaps': 'attention',
        'BlockDeconv2d': 'upsampling',
        'Bottleneck': 'csp',
        'C2': 'csp',
        'C2PSA': 'psa',
        'C2f': 'csp',
        'C2fCIB': 'cib',
        'C3': 'csp',
        'C3k': 'c3k2',
        'C3k2': 'c3k2',
        'CIB': 'cib',
        'CSPRep': 'csp_rep',
        'ContrastiveDenoising': 'denoising',
        'ConvModule': 'conv_module',
        'DETRTransformer': 'detr_transformer',
        'DeformableAttention': 'deformable_attention',
        'DeformableDecoder': 'deformable_decoder',
        'DistributionDecoder': 'distribution_decoder',
        'FrozenBatchNorm2d': 'normalization',
        'GroupSelection': 'group_selection',
        'ImagePoolingAttention': 'image_pooling',
        'KeyedDropout': 'keyed_dropout',
        'LEAKY_RELU': 'conv_module',
        'LargeKernelConv': 'cib',
        'LayerNorm2d': 'normalization',
        'LearnedPositionEncoding': 'position_encodings',
        'LiteDecoder': 'lite_decoder',
        'MLP': 'mlp',
        'MaskDecoder': 'mask_decoder',
        'MaxSigmoidAttention': 'text_guided',
        'MergingConvs': 'csp_rep',
        'MultiHeadAttention': 'attention',
        'PSABlock': 'psa',
        'QuerySelection': 'query_selection',
        'RepVGGBlock': 'csp_rep',
        'RMSNorm': 'normalization',
        'RepNCSPELAN4': 'elan',
        'SCDown': 'elan',
        'SeparableConv': 'conv_module',
        'SinCosPositionEncoding': 'position_encodings',
        'SinePositionEncoding': 'position_encodings',
        'SwiGLU': 'swiglu',
        'SyncBatchNorm2d': 'sync_batch_norm',
        'TextC2f': 'text_guided',
        'build_activation': 'conv_module',
        'build_block': 'block',
        'build_downsample': 'block',
        'fuse_conv_bn': 'fuse',
        'fused': 'fuse',
        'per_position': 'block',
        'scale_blocks': 'block',
        'scale_channels': 'block',
        'set_batch_norm': 'normalization',
        'synchronise_batch_norm': 'sync_batch_norm',
        'upsample_nearest': 'upsampling',
    },
)

__all__ = [
    'ACTIVATIONS',
    'Activation',
    'AttentionMaps',
    'BlockDeconv2d',
    'Bottleneck',
    'C2',
    'C2PSA',
    'C2f',
    'C2fCIB',
    'C3',
    'C3k',
    'C3k2',
    'CIB',
    'CSPRep',
    'ContrastiveDenoising',
    'ConvModule',
    'DETRTransformer',
    'DeformableAttention',
    'DeformableDecoder',
    'DistributionDecoder',
    'FrozenBatchNorm2d',
    'GroupSelection',
    'ImagePoolingAttention',
    'KeyedDropout',
    'LEAKY_RELU',
    'LargeKernelConv',
    'LayerNorm2d',
    'LearnedPositionEncoding',
    'LiteDecoder',
    'MLP',
    'MaskDecoder',
    'MaxSigmoidAttention',
    'MergingConvs',
    'MultiHeadAttention',
    'PSABlock',
    'QuerySelection',
    'RepVGGBlock',
    'RMSNorm',
    'RepNCSPELAN4',
    'SCDown',
    'SeparableConv',
    'SinCosPositionEncoding',
    'SinePositionEncoding',
    'SwiGLU',
    'SyncBatchNorm2d',
    'TextC2f',
    'build_activation',
    'build_block',
    'build_downsample',
    'fuse_conv_bn',
    'fused',
    'per_position',
    'scale_blocks',
    'scale_channels',
    'set_batch_norm',
    'synchronise_batch_norm',
    'upsample_nearest',
]
