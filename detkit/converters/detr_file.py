"""Files with a DETR's weights: their tensors, what is said about the model beside them, and the names of parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from detkit.converters.common import KeyTable, Rows
from detkit.converters.hub_config import bool_or_none, positive_or_none, what_lies_beside
from detkit.converters.inert_pickle import StandIn
from detkit.converters.weights_file import NoDETRError, read_state


@dataclass(frozen=True)
class DETRFile:
    """A DETR's weights, and what the file or its companions say about the model.

    Attributes:
        layout: 'original' or 'hugging_face', see ``DETR_KEYS``.
        tensors: the tensors by the file's names, packed projections unpacked.
        dilated: whether the backbone's last stage is dilated, which weights do not show; None where it is not said.
        num_heads: the heads of the attentions; None where that is not said.
        classes: the names by label; None where they are not said.
        said_by: the name of the file that says these.
    """

    layout: str
    tensors: dict[str, Tensor]
    dilated: bool | None = None
    num_heads: int | None = None
    classes: tuple[str, ...] | None = None
    said_by: str | None = None


def read_detr(path: Path) -> DETRFile:
    """Read a file; nothing in it is run.

    Raises:
        CheckpointError: the file is missing, damaged, or holds no DETR.
    """
    content, tensors = read_state(path)
    layout = layout_of(tensors)
    if layout is None:
        some = ', '.join(sorted(tensors)[:3]) or 'none'
        raise NoDETRError(
            path,
            f'holds no model that detkit knows (its tensors are {some}, ...)',
            f'is no DETR: it has no layer for classes under a name of DETR (its tensors are {some}, ...)',
        )
    known = what_lies_beside(path) if layout == 'hugging_face' else _arguments(content.get('args'), path)
    return DETRFile(layout, unpack(tensors), **known)


def _arguments(args: Any, path: Path) -> dict[str, Any]:
    """Return what the training arguments that DETR's own code saves with the weights say."""
    values = args.state if isinstance(args, StandIn) else None
    if not isinstance(values, dict):
        return {}
    return dict(
        dilated=bool_or_none(values.get('dilation')),
        num_heads=positive_or_none(values.get('nheads')),
        said_by=path.name,
    )


# Names of parameters: those of DETR's own files and of the Hugging Face Hub, and detkit's. The backbone's are those of
# torchvision on all sides but one, see ``_renamed_backbone``.


def _attention(theirs: str, ours: str) -> Rows:
    """Return the rows of an attention of the Hub; the original packs the incoming projections into one tensor."""
    short = dict(query_proj='q_proj', key_proj='k_proj', value_proj='v_proj', out_proj='out_proj')
    return tuple((f'{theirs}.{short[name]}', f'{ours}.{name}') for name in short)


_ENCODER, _DECODER = 'head.transformer.encoder_layers.{}', 'head.transformer.decoder_layers.{}'

# The mask head has the same names in both.
_MASKS: Rows = (
    ('bbox_attention.q_linear', 'head.mask_attention.query_proj'),
    ('bbox_attention.k_linear', 'head.mask_attention.key_proj'),
    *((f'mask_head.lay{i + 1}', f'head.mask_decoder.convs.{i}') for i in range(5)),
    *((f'mask_head.gn{i + 1}', f'head.mask_decoder.norms.{i}') for i in range(5)),
    *((f'mask_head.adapter{i + 1}', f'head.mask_decoder.laterals.{i}') for i in range(3)),
    ('mask_head.out_lay', 'head.mask_decoder.conv_mask'),
)


class DETRKeys(KeyTable):
    """The names of a DETR's parameters; its own files pack the incoming projections of an attention into one tensor."""

    def __init__(self, rows: Rows) -> None:
        super().__init__(rows, dropped=r'.*\.num_batches_tracked$')  # counters that training keeps and nothing reads

    def to_detkit(self, name: str) -> str | None:
        ours = super().to_detkit(name.removeprefix('detr.'))  # the prefix of models with masks
        return None if ours is None else _renamed_backbone(ours)

    def convert(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return super().convert(unpack(state))


def _renamed_backbone(name: str) -> str:
    """Return torchvision's name for one of transformers' own ResNet (the Hub's revisions ``no_timm``)."""
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


DETR_KEYS = {
    'original': DETRKeys(
        (
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
        )
    ),
    'hugging_face': DETRKeys(
        (
            ('model.backbone.conv_encoder.model', 'backbone'),
            ('model.position_embedding.row_embeddings', 'head.position_encoding.row_embed'),
            ('model.position_embedding.column_embeddings', 'head.position_encoding.column_embed'),
            # The names of releases before 5.
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
        )
    ),
}


def layout_of(names: Mapping[str, object]) -> str | None:
    """Return ``'original'`` or ``'hugging_face'`` by the parameters' names, None for neither."""
    plain = {name.removeprefix('detr.') for name in names}
    if 'class_embed.weight' in plain:
        return 'original'
    return 'hugging_face' if 'class_labels_classifier.weight' in plain else None


def unpack(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Split the packed projections of attentions, ``*.in_proj_weight``, into ``*.query_proj.weight`` and so on."""
    unpacked: dict[str, Tensor] = {}
    for name, tensor in state.items():
        attention, packed, kind = name.rpartition('.in_proj_')
        if packed and tensor.ndim and len(tensor) % 3 == 0:
            for part, chunk in zip(('query', 'key', 'value'), tensor.chunk(3), strict=True):
                unpacked[f'{attention}.{part}_proj.{kind}'] = chunk
        else:
            unpacked[name] = tensor
    return unpacked
