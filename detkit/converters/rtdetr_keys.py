"""The names of RT-DETR's and D-FINE's parameters: of detkit, of their authors, and of the Hugging Face Hub."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from detkit.converters.common import KeyTable, Rows, renamed
from detkit.converters.detr_file import unpack

_NECK = 'neck.0'
_FUSION = f'{_NECK}.fusion'
_LAYER = 'head.decoder.layers.{}'
# A convolution with its normalisation: theirs and detkit's names of the two.
_NORMED: Rows = (('conv', 'conv'), ('norm', 'bn'))
_HUB_NORMED: Rows = (('convolution', 'conv'), ('normalization', 'bn'))
_NUMBERED: Rows = (('0', 'conv'), ('1', 'bn'))
_ATTENTION = ('query_proj', 'key_proj', 'value_proj', 'out_proj')
_CROSS: Rows = (
    ('sampling_offsets', 'offsets'),
    ('attention_weights', 'weights'),
    ('value_proj', 'value_proj'),
    ('output_proj', 'out_proj'),
)


def _pairs(theirs: str, ours: str, parts: Rows) -> Rows:
    """Return rows whose names are those of ``parts`` behind two prefixes."""
    return tuple((f'{theirs}.{name}', f'{ours}.{own}' if ours else own) for name, own in parts)


def _product(parts: Rows, ends: Rows) -> Rows:
    return tuple((f'{theirs}.{end}', f'{ours}.{own}') for theirs, ours in parts for end, own in ends)


# Backbones


def _resnet(stem: str, block: str, branch: tuple[str, str, str], shortcuts: tuple[str, str], normed: Rows) -> Rows:
    """Return the rows of a ResNet of variant d, of any depth.

    Args:
        stem: the name of a convolution of the stem, from 0 on or, with ``{plus}``, from 1 on.
        block: the name of a block, with ``{stage}``, which counts from 0.
        branch: the names of its convolutions.
        shortcuts: the names of the convolutions of shortcuts, in the first stage and in the others.
        normed: the names of a convolution and of its normalisation.
    """
    rows: list[tuple[str, str]] = []
    (conv_name, _), (norm_name, _) = normed
    for index, (conv, bn) in enumerate((('conv1.0', 'conv1.1'), ('conv1.3', 'conv1.4'), ('conv1.6', 'bn1'))):
        name = stem.format(index=index, plus=index + 1)
        rows += [(f'{name}.{conv_name}', f'backbone.{conv}'), (f'{name}.{norm_name}', f'backbone.{bn}')]
    for stage in range(4):
        theirs, ours = block.format(stage=stage, number='{}'), f'backbone.layer{stage + 1}.{{}}'
        for number, name in enumerate(branch, 1):
            ends = ((conv_name, f'conv{number}'), (norm_name, f'bn{number}'))
            rows += _pairs(f'{theirs}.{name}', ours, ends)
        ends = ((conv_name, 'downsample.1'), (norm_name, 'downsample.2'))
        rows += _pairs(f'{theirs}.{shortcuts[min(stage, 1)]}', ours, ends)
    return tuple(rows)


_ORIGINAL_RESNET = _resnet(
    'backbone.conv1.conv1_{plus}',
    'backbone.res_layers.{stage}.blocks.{number}',
    ('branch2a', 'branch2b', 'branch2c'),
    ('short', 'short.conv'),
    _NORMED,
)
_HUB_RESNET = _resnet(
    'model.backbone.model.embedder.embedder.{index}',
    'model.backbone.model.encoder.stages.{stage}.layers.{number}',
    ('layer.0', 'layer.1', 'layer.2'),
    ('shortcut', 'shortcut.1'),
    _HUB_NORMED,
)
# The authors' names are detkit's.
_ORIGINAL_HGNET: Rows = (('backbone.stem', 'backbone.stem'), ('backbone.stages', 'backbone.stages'))
_HGNET_STEM = ('stem1', 'stem2a', 'stem2b', 'stem3', 'stem4')
_HGNET_STAGE = (*(f'blocks.{{}}.layers.{{}}{end}' for end in ('', '.conv1', '.conv2')), 'blocks.{}.aggregation.{}')
_HUB_HGNET = _product(
    (
        *((f'model.backbone.model.embedder.{name}', f'backbone.stem.{name}') for name in _HGNET_STEM),
        *(
            (f'model.backbone.model.encoder.stages.{{}}.{name}', f'backbone.stages.{{}}.{name}')
            for name in (*_HGNET_STAGE, 'downsample')
        ),
    ),
    (*_HUB_NORMED, ('lab', 'lab')),
)


# The hybrid encoder


def _fusion(theirs: str, levels: int, block: Rows, down: Rows) -> Rows:
    """Return the rows of the convolutions between maps; both projects go from coarse to fine in their first half.

    Args:
        theirs: the prefix of the encoder.
        levels: the number of maps.
        block: the rows of the convolutions of a block.
        down: those of a step to a coarser map.
    """
    parts: list[tuple[str, str]] = []
    for step in range(levels - 1):
        finer = levels - 2 - step
        parts.append((f'lateral_convs.{step}', f'reduce_convs.{finer}'))
        parts += [(f'downsample_convs.{step}{name}', f'down_convs.{step}{own}') for name, own in down]
        parts += _pairs(f'fpn_blocks.{step}', f'up_blocks.{finer}', block)
        parts += _pairs(f'pan_blocks.{step}', f'down_blocks.{step}', block)
    return _product(_pairs(theirs, _FUSION, tuple(parts)), _NORMED)


def _bottlenecks(theirs: str, ours: str) -> Rows:
    """Return the rows of blocks that have a 3 x 3 and a 1 x 1 branch."""
    dot = '.' if theirs else ''
    return tuple(
        (f'{theirs}{dot}bottlenecks.{{}}.conv{number}', f'{ours}{dot}blocks.{{}}.{branch}')
        for number, branch in ((1, 'branch3'), (2, 'branch1'))
    )


_CSP_REP: Rows = (*((f'conv{number}', f'conv{number}') for number in (1, 2, 3)), *_bottlenecks('', ''))


def _elan(conv: str, csp: tuple[str, str], last: tuple[str, str]) -> Rows:
    """Return the rows of a ``RepNCSPELAN4``.

    Args:
        conv: the name of its first and last convolution, without their number, 1 or 4.
        csp, last: the names of the block and of the convolution of each of its two branches.
    """
    rows: list[tuple[str, str]] = [(f'{conv}1', 'in_conv'), (f'{conv}4', 'out_conv')]
    for number in range(2):
        own = f'branches.{number}'
        rows.append((last[number], f'{own}.1'))
        rows += [(f'{csp[number]}.conv{index}', f'{own}.0.conv{index}') for index in (1, 2)]
        rows += _bottlenecks(csp[number], f'{own}.0')
    return tuple(rows)


_ORIGINAL_ELAN = _elan('cv', ('cv2.0', 'cv3.0'), ('cv2.1', 'cv3.1'))
_HUB_ELAN = _elan('conv', ('csp_rep1', 'csp_rep2'), ('conv2', 'conv3'))
_ORIGINAL_DOWN: Rows = (('.0.cv1', '.0'), ('.0.cv2', '.1'))
_HUB_DOWN: Rows = (('.conv1', '.0'), ('.conv2', '.1'))


# The decoder


def _original_transformer(boxes: str) -> Rows:
    """Return the rows of encoder layers and of decoder and selection.

    Args:
        boxes: detkit's name of the MLPs of the boxes of each layer.
    """
    encoder, decoder = 'encoder.encoder.{}.layers.{}', 'decoder.decoder.layers.{}'
    own = f'{_NECK}.encoders.{{}}.{{}}'
    return (
        *((f'{encoder}.self_attn.{name}', f'{own}.self_attn.{name}') for name in _ATTENTION),
        (f'{encoder}.norm1', f'{own}.norm_self'),
        (f'{encoder}.norm2', f'{own}.norm_ffn'),
        (f'{encoder}.linear{{}}', f'{own}.linear{{}}'),
        *((f'{decoder}.self_attn.{name}', f'{_LAYER}.self_attn.{name}') for name in _ATTENTION),
        *_pairs(f'{decoder}.cross_attn', f'{_LAYER}.cross_attn', _CROSS),
        (f'{decoder}.norm1', f'{_LAYER}.norm_self'),
        (f'{decoder}.norm3', f'{_LAYER}.norm_ffn'),
        (f'{decoder}.linear{{}}', f'{_LAYER}.linear{{}}'),
        *_pairs('decoder.input_proj.{}', 'head.in_convs.{}', _NORMED),
        ('decoder.denoising_class_embed', 'head.denoising.class_embed'),
        ('decoder.query_pos_head', 'head.decoder.position_mlp'),
        ('decoder.enc_score_head', 'head.selection.fc_cls'),
        ('decoder.enc_bbox_head', 'head.selection.bbox_mlp'),
        ('decoder.dec_score_head.{}', 'head.fc_cls.{}'),
        ('decoder.dec_bbox_head.{}', f'head.decoder.{boxes}.{{}}'),
    )


# Version 1 of RT-DETR has numbers where version 2 and D-FINE have names.
_NUMBERS: Rows = (
    *_pairs('encoder.input_proj.{}', f'{_NECK}.in_convs.{{}}', _NUMBERED),
    *_pairs('decoder.enc_output', 'head.selection', (('0', 'linear'), ('1', 'norm'))),
)
_NAMES: Rows = (
    *_pairs('encoder.input_proj.{}', f'{_NECK}.in_convs.{{}}', _NORMED),
    *_pairs('decoder.enc_output', 'head.selection', (('proj', 'linear'), ('norm', 'norm'))),
)


def _hub_transformer(boxes: str) -> Rows:
    """Return the same of the Hub, whose files keep the names that transformers had before version 5."""
    encoder, decoder = 'model.encoder.encoder.{}.layers.{}', 'model.decoder.layers.{}'
    own = f'{_NECK}.encoders.{{}}.{{}}'
    attention = tuple((name if name == 'out_proj' else f'{name[0]}_proj', name) for name in _ATTENTION)
    rows: list[tuple[str, str]] = []
    for theirs, ours in ((encoder, own), (decoder, _LAYER)):
        rows += _pairs(f'{theirs}.self_attn', f'{ours}.self_attn', attention)
        rows += [
            (f'{theirs}.self_attn_layer_norm', f'{ours}.norm_self'),
            (f'{theirs}.final_layer_norm', f'{ours}.norm_ffn'),
            (f'{theirs}.fc{{}}', f'{ours}.linear{{}}'),
        ]
    return (
        *rows,
        *_pairs(f'{decoder}.encoder_attn', f'{_LAYER}.cross_attn', _CROSS),
        *_pairs('model.encoder_input_proj.{}', f'{_NECK}.in_convs.{{}}', _NUMBERED),
        *_pairs('model.decoder_input_proj.{}', 'head.in_convs.{}', _NUMBERED),
        ('model.denoising_class_embed', 'head.denoising.class_embed'),
        *_pairs('model.enc_output', 'head.selection', (('0', 'linear'), ('1', 'norm'))),
        ('model.enc_score_head', 'head.selection.fc_cls'),
        ('model.enc_bbox_head', 'head.selection.bbox_mlp'),
        ('model.decoder.query_pos_head', 'head.decoder.position_mlp'),
        ('model.decoder.class_embed.{}', 'head.fc_cls.{}'),
        ('model.decoder.bbox_embed.{}', f'head.decoder.{boxes}.{{}}'),
    )


def _distributions(layer: str, decoder: str, whole: str, quality: str) -> Rows:
    """Return the rows of what D-FINE's decoder has more than RT-DETR's.

    Args:
        layer, decoder: the prefixes of a layer and of the decoder.
        whole: the prefix of what belongs to all layers.
        quality: the name of the MLPs of the quality of a location.
    """
    return (
        (f'{layer}.gateway.gate', f'{_LAYER}.gate'),
        (f'{layer}.gateway.norm', f'{_LAYER}.norm_cross'),
        (f'{decoder}.{quality}.{{}}.reg_conf', 'head.quality_mlps.{}'),
        (f'{whole}.pre_bbox_head', 'head.decoder.initial_mlp'),
        (f'{whole}.up', 'head.decoder.bin_scale.up'),
        (f'{whole}.reg_scale', 'head.decoder.bin_scale.reg_scale'),
    )


class DecoderKeys(KeyTable):
    """A table; attentions that a file packs into one tensor are unpacked first."""

    def convert(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return super().convert(unpack(state))


# Constants: the cells' anchors for images of one size, and one over the number of points.
_CONSTANTS = r'.*\b(anchors|valid_mask|n_points_scale|num_points_scale)$'


def _rtdetr_original(first: Rows, second: Rows) -> DecoderKeys:
    return DecoderKeys(
        (
            *_ORIGINAL_RESNET,
            *_ORIGINAL_HGNET,
            *first,
            *second,
            *_original_transformer('bbox_mlps'),
            ('decoder.decoder.layers.{}.norm2', f'{_LAYER}.norm_cross'),
            *_fusion('encoder', 3, _CSP_REP, (('', ''),)),
        ),
        _CONSTANTS,
    )


RTDETR_KEYS = {
    'original_v1': _rtdetr_original(_NUMBERS, _NAMES),
    'original': _rtdetr_original(_NAMES, _NUMBERS),
    'hugging_face': DecoderKeys(
        (
            *_HUB_RESNET,
            *_HUB_HGNET,
            *_hub_transformer('bbox_mlps'),
            ('model.decoder.layers.{}.encoder_attn_layer_norm', f'{_LAYER}.norm_cross'),
            *_fusion('model.encoder', 3, _CSP_REP, (('', ''),)),
        ),
        _CONSTANTS,
    ),
}


def _dfine(levels: int) -> dict[str, DecoderKeys]:
    return {
        'original': DecoderKeys(
            (
                *_ORIGINAL_HGNET,
                *_NAMES,
                *_original_transformer('edge_mlps'),
                *_distributions('decoder.decoder.layers.{}', 'decoder.decoder', 'decoder', 'lqe_layers'),
                *_fusion('encoder', levels, _ORIGINAL_ELAN, _ORIGINAL_DOWN),
            ),
            # The decoder holds the scale of the distances once more.
            rf'{_CONSTANTS}|decoder\.decoder\.(up|reg_scale)$',
        ),
        'hugging_face': DecoderKeys(
            (
                *_HUB_HGNET,
                *_hub_transformer('edge_mlps'),
                *_distributions('model.decoder.layers.{}', 'model.decoder', 'model.decoder', 'lqe_layers'),
                *_fusion('model.encoder', levels, _HUB_ELAN, _HUB_DOWN),
            ),
            _CONSTANTS,
        ),
    }


# By the number of maps, on which the order of the steps between them depends: N has two.
DFINE_KEYS = {levels: _dfine(levels) for levels in (2, 3)}


def bare_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a file's tensors by the names of ``RTDETR_KEYS`` and ``DFINE_KEYS``, attentions unpacked.

    Files of the Hub may have the names that transformers 5 has in memory, and the prediction layers twice.

    Raises:
        CheckpointError: the two are not the same.
    """
    return renamed(unpack(state), _file_name)


def _file_name(name: str) -> str:
    if name.startswith(('class_embed.', 'bbox_embed.')):
        return f'model.decoder.{name}'
    if not name.startswith('model.'):
        return name
    name = name.replace('.o_proj.', '.out_proj.').replace('.encoder.aifi.', '.encoder.encoder.')
    name = re.sub(r'(\.layers\.\d+)\.mlp\.layers\.([01])\.', lambda m: f'{m[1]}.fc{int(m[2]) + 1}.', name)
    return re.sub(r'(\.layers\.\d+)\.mlp\.fc', r'\1.fc', name)


def layout_of(names: Mapping[str, object]) -> tuple[str, str] | None:
    """Return the family, 'rtdetr' or 'dfine', and the layout of a file by its parameters' names; None for neither."""
    layouts = (('hugging_face', 'model.', 'model.enc_output.0'), ('original_v1', 'decoder.', 'decoder.enc_output.0'))
    for layout, prefix, selection in (*layouts, ('original', 'decoder.', 'decoder.enc_output.proj')):
        if {f'{selection}.weight', f'{prefix}enc_score_head.weight'} <= names.keys():
            inner = 'model.decoder.' if layout == 'hugging_face' else prefix
            dfine = f'{inner}pre_bbox_head.layers.0.weight' in names
            return 'dfine' if dfine else 'rtdetr', layout
    return None
