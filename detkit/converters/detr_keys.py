"""Names of parameters: DETR's own files and those of the Hugging Face Hub <-> detkit's (``key_table`` says what a row
is). The backbone's names are torchvision's on all sides but one, see ``_renamed_backbone``."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from detkit.converters.key_table import Patterns, Rows, compile_rows, rename


def _attention(theirs: str, ours: str) -> Rows:
    """The Hub's; the original's incoming projections are packed into one."""
    short = dict(query_proj='q_proj', key_proj='k_proj', value_proj='v_proj', out_proj='out_proj')
    return tuple((f'{theirs}.{short[name]}', f'{ours}.{name}') for name in short)


_ENCODER, _DECODER = 'head.transformer.encoder_layers.{}', 'head.transformer.decoder_layers.{}'

# The mask head is called the same in both.
_MASKS: Rows = (
    ('bbox_attention.q_linear', 'head.mask_attention.query_proj'),
    ('bbox_attention.k_linear', 'head.mask_attention.key_proj'),
    *((f'mask_head.lay{i + 1}', f'head.mask_decoder.convs.{i}') for i in range(5)),
    *((f'mask_head.gn{i + 1}', f'head.mask_decoder.norms.{i}') for i in range(5)),
    *((f'mask_head.adapter{i + 1}', f'head.mask_decoder.laterals.{i}') for i in range(3)),
    ('mask_head.out_lay', 'head.mask_decoder.conv_mask'),
)

DETR_KEYS: dict[str, Rows] = {
    'original': (
        ('backbone.0.body', 'backbone'),
        ('backbone.1.row_embed', 'head.position_encoding.row_embed'),
        ('backbone.1.col_embed', 'head.position_encoding.column_embed'),
        ('input_proj', 'head.input_proj'),
        ('query_embed', 'head.query_embed'),
        ('transformer.encoder.layers.{}.self_attn', f'{_ENCODER}.self_attn'),
        ('transformer.encoder.layers.{}.linear{}', f'{_ENCODER}.linear{{}}'),
        ('transformer.encoder.layers.{}.norm1', f'{_ENCODER}.norm_self'),
        ('transformer.encoder.layers.{}.norm2', f'{_ENCODER}.norm_ffn'),
        ('transformer.decoder.layers.{}.self_attn', f'{_DECODER}.self_attn'),
        ('transformer.decoder.layers.{}.multihead_attn', f'{_DECODER}.cross_attn'),
        ('transformer.decoder.layers.{}.linear{}', f'{_DECODER}.linear{{}}'),
        ('transformer.decoder.layers.{}.norm1', f'{_DECODER}.norm_self'),
        ('transformer.decoder.layers.{}.norm2', f'{_DECODER}.norm_cross'),
        ('transformer.decoder.layers.{}.norm3', f'{_DECODER}.norm_ffn'),
        ('transformer.decoder.norm', 'head.transformer.decoder_norm'),
        ('class_embed', 'head.fc_cls'),
        ('bbox_embed.layers.{}', 'head.bbox_mlp.layers.{}'),
        *_MASKS,
    ),
    'hugging_face': (
        ('model.backbone.conv_encoder.model', 'backbone'),
        ('model.position_embedding.row_embeddings', 'head.position_encoding.row_embed'),
        ('model.position_embedding.column_embeddings', 'head.position_encoding.column_embed'),
        # As releases before 5 called them.
        ('model.backbone.position_embedding.row_embeddings', 'head.position_encoding.row_embed'),
        ('model.backbone.position_embedding.column_embeddings', 'head.position_encoding.column_embed'),
        ('model.input_projection', 'head.input_proj'),
        ('model.query_position_embeddings', 'head.query_embed'),
        *_attention('model.encoder.layers.{}.self_attn', f'{_ENCODER}.self_attn'),
        ('model.encoder.layers.{}.self_attn_layer_norm', f'{_ENCODER}.norm_self'),
        ('model.encoder.layers.{}.fc{}', f'{_ENCODER}.linear{{}}'),
        ('model.encoder.layers.{}.final_layer_norm', f'{_ENCODER}.norm_ffn'),
        *_attention('model.decoder.layers.{}.self_attn', f'{_DECODER}.self_attn'),
        ('model.decoder.layers.{}.self_attn_layer_norm', f'{_DECODER}.norm_self'),
        *_attention('model.decoder.layers.{}.encoder_attn', f'{_DECODER}.cross_attn'),
        ('model.decoder.layers.{}.encoder_attn_layer_norm', f'{_DECODER}.norm_cross'),
        ('model.decoder.layers.{}.fc{}', f'{_DECODER}.linear{{}}'),
        ('model.decoder.layers.{}.final_layer_norm', f'{_DECODER}.norm_ffn'),
        ('model.decoder.layernorm', 'head.transformer.decoder_norm'),
        ('class_labels_classifier', 'head.fc_cls'),
        ('bbox_predictor.layers.{}', 'head.bbox_mlp.layers.{}'),
        *_MASKS,
    ),
}

# Counters that training keeps and nothing reads.
_DROPPED = re.compile(r'.*\.num_batches_tracked$')


_TO_DETKIT: dict[str, Patterns] = {layout: compile_rows(rows) for layout, rows in DETR_KEYS.items()}
_FROM_DETKIT: dict[str, Patterns] = {
    layout: compile_rows((ours, theirs) for theirs, ours in rows) for layout, rows in DETR_KEYS.items()
}


def _renamed_backbone(name: str) -> str:
    """torchvision's names for those of transformers' own ResNet (the Hub's revisions ``no_timm``)."""
    name = name.replace('backbone.embedder.embedder.convolution', 'backbone.conv1')
    name = name.replace('backbone.embedder.embedder.normalization', 'backbone.bn1')
    stage = re.match(r'backbone\.encoder\.stages\.(\d+)\.layers\.(\d+)\.(.*)', name)
    if stage is None:
        return name
    index, block, rest = stage.groups()
    rest = rest.replace('shortcut.convolution', 'downsample.0').replace('shortcut.normalization', 'downsample.1')
    rest = re.sub(r'layer\.(\d)\.convolution', lambda match: f'conv{int(match[1]) + 1}', rest)
    rest = re.sub(r'layer\.(\d)\.normalization', lambda match: f'bn{int(match[1]) + 1}', rest)
    return f'backbone.layer{int(index) + 1}.{block}.{rest}'


def layout_of(names: Mapping[str, object]) -> str | None:
    """``'original'`` or ``'hugging_face'``, by the parameters' names; None for neither."""
    plain = {name.removeprefix('detr.') for name in names}
    if 'class_embed.weight' in plain:
        return 'original'
    return 'hugging_face' if 'class_labels_classifier.weight' in plain else None


def to_detkit(name: str, layout: str) -> str | None:
    """detkit's name of a parameter or buffer; None for one that detkit has no need of.

    Args:
        name: of a tensor of ``unpack``'s result.
        layout: 'original' or 'hugging_face'.

    Raises:
        KeyError: the name is none of a DETR's.
    """
    if _DROPPED.match(name):
        return None
    return _renamed_backbone(rename(name.removeprefix('detr.'), _TO_DETKIT[layout]))


def from_detkit(name: str, layout: str) -> str:
    """The inverse of ``to_detkit``, without the prefix of models with masks."""
    return rename(name, _FROM_DETKIT[layout])


def unpack(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Packed incoming projections of attentions, ``*.in_proj_weight``, as ``*.query_proj.weight`` and so on."""
    unpacked: dict[str, Tensor] = {}
    for name, tensor in state.items():
        attention, packed, kind = name.rpartition('.in_proj_')
        if packed and len(tensor) % 3 == 0:
            for part, own in zip(('query', 'key', 'value'), tensor.chunk(3), strict=True):
                unpacked[f'{attention}.{part}_proj.{kind}'] = own
        else:
            unpacked[name] = tensor
    return unpacked


def convert_state(state: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
    """A DETR's state dict under detkit's names.

    Raises:
        KeyError: a name is none of a DETR's.
    """
    renamed = {to_detkit(name, layout): tensor for name, tensor in unpack(state).items()}
    renamed.pop(None, None)
    return renamed
