"""The names of RF-DETR's parameters: its authors', transformers', and detkit's."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from detkit.converters.common import KeyTable, Rows, renamed
from detkit.converters.detr_file import unpack

_BLOCK = 'backbone.blocks.{}'
_PROJECTOR = 'neck.0.blocks.0'
_DECODER = 'head.decoder.layers.{}'
_PROJECTIONS = ('query', 'key', 'value')


def _backbone(root: str, attention: Mapping[str, str]) -> Rows:
    """Return the rows of the backbone, whose names are transformers' of DINOv2 in both layouts.

    Args:
        root: the prefix of all names.
        attention: detkit's names of the projections of an attention -> theirs.
    """
    layer = f'{root}.encoder.layer.{{}}'
    return (
        (f'{root}.embeddings.patch_embeddings.projection', 'backbone.embed.proj'),
        (f'{root}.embeddings.cls_token', 'backbone.embed.class_token'),
        (f'{root}.embeddings.mask_token', 'backbone.embed.mask_token'),
        (f'{root}.embeddings.position_embeddings', 'backbone.embed.positions'),
        *((f'{layer}.layer_scale{k}.lambda1', f'{_BLOCK}.scale{k}') for k in (1, 2)),
        *((f'{layer}.norm{k}', f'{_BLOCK}.norm{k}') for k in (1, 2)),
        *((f'{layer}.mlp.fc{k}', f'{_BLOCK}.linear{k}') for k in (1, 2)),
        *((f'{layer}.attention.{theirs}', f'{_BLOCK}.attn.{ours}') for ours, theirs in attention.items()),
        (f'{root}.layernorm', 'backbone.norm'),
    )


def _projector(block: str, conv: str, inner: str, norm: str, last_norm: str) -> Rows:
    """Return the rows of the projector of one map.

    Args:
        block: the name of the block, C2f.
        conv: the names of its first and last convolution, and of a bottleneck's, without their number.
        inner: the name of its bottlenecks.
        norm: the name of a convolution's normalisation.
        last_norm: the name of the normalisation after the block.
    """
    pairs = (
        (f'{block}.{conv}1', f'{_PROJECTOR}.in_conv'),
        (f'{block}.{conv}2', f'{_PROJECTOR}.out_conv'),
        *((f'{block}.{inner}.{{}}.{conv}{k}', f'{_PROJECTOR}.blocks.{{}}.conv{k}') for k in (1, 2)),
    )
    return (
        *((f'{before}.conv', f'{after}.conv') for before, after in pairs),
        *((f'{before}.{norm}', f'{after}.bn') for before, after in pairs),
        (last_norm, 'neck.0.norms.0'),
    )


def _head(names: Mapping[str, str], decoder: str, selection: str, whole: str) -> Rows:
    """Return the rows of decoder, selections and prediction layers.

    Args:
        names: detkit's names within a decoder layer -> theirs.
        decoder, selection, whole: prefixes of the decoder, of the selections, and of what is beside both.
    """
    return (
        *((f'{decoder}.layers.{{}}.{theirs}', f'{_DECODER}.{ours}') for ours, theirs in names.items()),
        (f'{decoder}.ref_point_head.layers.{{}}', 'head.decoder.position_mlp.layers.{}'),
        (f'{selection}enc_output.{{}}', 'head.selections.{}.linear'),
        (f'{selection}enc_output_norm.{{}}', 'head.selections.{}.norm'),
        (f'{selection}enc_out_bbox_embed.{{}}.layers.{{}}', 'head.selections.{}.bbox_mlp.layers.{}'),
        (f'{selection}enc_out_class_embed.{{}}', 'head.selections.{}.fc_cls'),
        (f'{whole}class_embed', 'head.fc_cls'),
        (f'{whole}bbox_embed.layers.{{}}', 'head.decoder.bbox_mlp.layers.{}'),
    )


# Within a decoder layer; both layouts have these names.
_CROSS = {
    'cross_attn.offsets': 'cross_attn.sampling_offsets',
    'cross_attn.weights': 'cross_attn.attention_weights',
    'cross_attn.value_proj': 'cross_attn.value_proj',
    'cross_attn.out_proj': 'cross_attn.output_proj',
}


def _masks(prefix: str, names: Mapping[str, str]) -> Rows:
    """Return the rows of the mask decoder.

    Args:
        prefix: of all names.
        names: detkit's names -> theirs.
    """
    return tuple((f'{prefix}{theirs}', f'head.mask_decoder.{ours}') for ours, theirs in names.items())


class RFDETRKeys(KeyTable):
    """A table; attentions that a file packs into one tensor are unpacked first."""

    def convert(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return super().convert(unpack(state))


RFDETR_KEYS = {
    # Also of the files on the Hub, which transformers renames as it reads them.
    'original': RFDETRKeys(
        (
            *_backbone(
                'backbone.0.encoder.encoder',
                {'out_proj': 'output.dense', **{f'{part}_proj': f'attention.{part}' for part in _PROJECTIONS}},
            ),
            *_projector('backbone.0.projector.stages.0.0', 'cv', 'm', 'bn', 'backbone.0.projector.stages.0.1'),
            *_head(
                {
                    'self_attn': 'self_attn',
                    'norm_self': 'norm1',
                    **_CROSS,
                    'norm_cross': 'norm2',
                    'linear1': 'linear1',
                    'linear2': 'linear2',
                    'norm_ffn': 'norm3',
                },
                'transformer.decoder',
                'transformer.',
                '',
            ),
            ('transformer.decoder.norm', 'head.decoder.norm'),
            ('refpoint_embed', 'head.bbox_embed'),
            ('query_feat', 'head.query_embed'),
            *_masks(
                'segmentation_head.',
                {
                    'blocks.{}.depthwise': 'blocks.{}.dwconv',
                    'blocks.{}.norm': 'blocks.{}.norm',
                    'blocks.{}.pointwise': 'blocks.{}.pwconv1',
                    'pixel_proj': 'spatial_features_proj',
                    'query_norm': 'query_features_block.norm_in',
                    'linear1': 'query_features_block.layers.0',
                    'linear2': 'query_features_block.layers.2',
                    'query_proj': 'query_features_proj',
                    'bias': 'bias',
                },
            ),
        ),
        # A constant of models of keypoints, which have further parameters; empty in others.
        dropped='_kp_active_mask$',
    ),
    'hugging_face': RFDETRKeys(
        (
            *_backbone(
                'model.backbone.backbone',
                {'out_proj': 'o_proj', **{f'{part}_proj': f'{part[0]}_proj' for part in _PROJECTIONS}},
            ),
            *_projector(
                'model.backbone.projector.projector_layer',
                'conv',
                'bottlenecks',
                'norm',
                'model.backbone.projector.layer_norm',
            ),
            *_head(
                {
                    **{f'self_attn.{part}_proj': f'self_attn.{part[0]}_proj' for part in (*_PROJECTIONS, 'out')},
                    'norm_self': 'self_attn_layer_norm',
                    **_CROSS,
                    'norm_cross': 'cross_attn_layer_norm',
                    'linear1': 'mlp.fc1',
                    'linear2': 'mlp.fc2',
                    'norm_ffn': 'layer_norm',
                },
                'model.decoder',
                'model.',
                '',
            ),
            ('model.decoder.layernorm', 'head.decoder.norm'),
            ('model.reference_point_embed', 'head.bbox_embed'),
            ('model.query_feat', 'head.query_embed'),
            *_masks(
                '',
                {
                    'blocks.{}.depthwise': 'blocks.{}.depthwise_conv',
                    'blocks.{}.norm': 'blocks.{}.layernorm',
                    'blocks.{}.pointwise': 'blocks.{}.pointwise_conv',
                    'pixel_proj': 'spatial_features_proj',
                    'query_norm': 'query_features_block.norm',
                    'linear1': 'query_features_block.mlp.fc1',
                    'linear2': 'query_features_block.mlp.fc2',
                    'query_proj': 'query_features_proj',
                    'bias': 'segmentation_bias',
                },
            ),
        )
    ),
}


def layout_of(names: Mapping[str, object]) -> str | None:
    """Return ``'original'`` or ``'hugging_face'`` by the parameters' names, None for no RF-DETR."""
    if {'refpoint_embed.weight', 'query_feat.weight'} <= names.keys():
        return 'original'
    ends = ('model.reference_point_embed.weight', 'model.query_feat.weight')
    return 'hugging_face' if all(any(name.endswith(end) for name in names) for end in ends) else None


def bare_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors without the prefix that transformers gives to the detector inside of a model with masks."""
    inside = ('model.model.', 'model.class_embed.', 'model.bbox_embed.')
    return renamed(state, lambda name: name.removeprefix('model.') if name.startswith(inside) else name)
