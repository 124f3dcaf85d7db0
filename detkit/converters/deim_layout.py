"""The tensors of a DEIMv2 in the files of its authors and of the Hugging Face Hub, and their names in detkit."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from detkit.converters.common import KeyTable, Rows

_NORMED = (('conv', 'conv'), ('norm', 'bn'))
_ATTENTION = (('q_proj', 'query_proj'), ('k_proj', 'key_proj'), ('v_proj', 'value_proj'))
# The two halves of a convolution of theirs that are two convolutions here, by the names that ``unpack`` gives them.
_HALVES = (('conv1a', 'conv2'), ('conv1b', 'conv1'))
# The convolution whose halves they are, in both layouts.
_HALVED = re.compile(r'(.*\.(?:csp_rep[12]|(?:fpn|pan)_blocks?(?:\.\d+)?\.cv[23]\.0))\.conv1\.(.*)')


def _block(theirs: str, ours: str, names: Mapping[str, str]) -> Rows:
    """Return the rows of a fusion block; ``names`` are theirs of its parts."""
    parts = [(names['first'], 'in_conv'), (names['last'], 'out_conv')]
    for number in range(2):
        csp, branch = names[f'csp{number}'], f'branches.{number}.0'
        parts += [(f'{csp}.{half}', f'{branch}.{own}') for half, own in _HALVES]
        parts += [(f'{csp}.bottlenecks.{{}}.conv{i}', f'{branch}.blocks.{{}}.branch{k}') for i, k in ((1, 3), (2, 1))]
        parts.append((names[f'behind{number}'], f'branches.{number}.1'))
    return tuple((f'{theirs}.{part}.{kind}', f'{ours}.{own}.{mine}') for part, own in parts for kind, mine in _NORMED)


def _convs(prefix: str, ours: str, parts: Rows) -> Rows:
    return tuple((f'{prefix}.{part}.{kind}', f'{ours}.{own}.{mine}') for part, own in parts for kind, mine in _NORMED)


def _encoder(names: Mapping[str, str], theirs: str, down: str) -> Rows:
    """Return the rows of the fusion of two maps, and of the encoder that makes two maps of one."""
    fusion = 'neck.0.fusion'
    return (
        *_convs(theirs, fusion, (('lateral_convs.0', 'reduce_convs.0'),)),
        *_convs(theirs, fusion, ((f'{down}1', 'down_convs.0.0'), (f'{down}2', 'down_convs.0.1'))),
        *_block(f'{theirs}.fpn_blocks.0', f'{fusion}.up_blocks.0', names),
        *_block(f'{theirs}.pan_blocks.0', f'{fusion}.down_blocks.0', names),
        *_block(f'{theirs}.fpn_block', 'neck.0.blocks.0', names),
        *_block(f'{theirs}.pan_block', 'neck.0.blocks.1', names),
    )


_HUB_BLOCK = dict(
    first='conv1', last='conv2', csp0='csp_rep1', csp1='csp_rep2', behind0='csp_rep1.conv2', behind1='csp_rep2.conv2'
)
_AUTHORS_BLOCK = dict(first='cv1', last='cv4', csp0='cv2.0', csp1='cv3.0', behind0='cv2.1', behind1='cv3.1')


def _hub_backbone() -> Rows:
    rows: list[tuple[str, str]] = []
    model, stages = 'model.conv_encoder.model', 'encoder.stages.{}.'
    parts = [(f'embedder.{name}', f'stem.{name}') for name in ('stem1', 'stem2a', 'stem2b', 'stem3', 'stem4')]
    inner = ('blocks.{}.layers.{}.conv1', 'blocks.{}.layers.{}.conv2', 'blocks.{}.layers.{}')
    parts += [(stages + name, f'stages.{{}}.{name}') for name in (*inner, 'blocks.{}.aggregation.{}', 'downsample')]
    for theirs, ours in parts:
        rows += [
            (f'{model}.{theirs}.{kind}', f'backbone.{ours}.{own}')
            for kind, own in (('convolution', 'conv'), ('normalization', 'bn'), ('lab', 'lab'))
        ]
    return tuple(rows)


_LAYER = 'head.decoder.layers.{}'
HUB_KEYS = KeyTable(
    (
        *_hub_backbone(),
        *_convs('model.conv_encoder', 'neck.0', (('encoder_input_proj.{}', 'in_convs.{}'),)),
        *_convs('model.encoder', 'neck.0', (('input_proj.0', 'in_conv'), ('bi_fusion_conv', 'mean_conv'))),
        *_convs('model.encoder', 'neck.0', (('down_conv1', 'down_convs.0'), ('down_conv2', 'down_convs.1'))),
        *(
            (f'model.encoder.aifi.{{}}.layers.{{}}.{theirs}', f'neck.0.encoders.{{}}.{{}}.{ours}')
            for theirs, ours in (
                *((f'self_attn.{a}', f'self_attn.{b}') for a, b in (*_ATTENTION, ('o_proj', 'out_proj'))),
                ('self_attn_layer_norm', 'norm_self'),
                ('mlp.layers.0', 'linear1'),
                ('mlp.layers.1', 'linear2'),
                ('final_layer_norm', 'norm_ffn'),
            )
        ),
        *_encoder(_HUB_BLOCK, 'model.encoder', 'downsample_convs.0.conv'),
        ('model.denoising_class_embed', 'head.denoising.class_embed'),
        ('model.enc_output.0', 'head.selection.linear'),
        ('model.enc_output.1', 'head.selection.norm'),
        ('model.enc_score_head', 'head.selection.fc_cls'),
        ('model.enc_bbox_head', 'head.selection.bbox_mlp'),
        *(
            (f'model.decoder.layers.{{}}.{theirs}', f'{_LAYER}.{ours}')
            for theirs, ours in (
                *((f'self_attn.{a}', f'self_attn.{b}') for a, b in (*_ATTENTION, ('o_proj', 'out_proj'))),
                ('self_attn_layer_norm', 'norm_self'),
                ('encoder_attn.sampling_offsets', 'cross_attn.offsets'),
                ('encoder_attn.attention_weights', 'cross_attn.weights'),
                ('gateway.gate', 'gate'),
                ('gateway.norm', 'norm_cross'),
                ('encoder_attn_layer_norm', 'norm_cross'),
                ('mlp.gate_up_proj', 'linear1'),
                ('mlp.down_proj', 'linear2'),
                ('final_layer_norm', 'norm_ffn'),
            )
        ),
        ('model.decoder.query_pos_head', 'head.decoder.position_mlp'),
        ('model.decoder.pre_bbox_head', 'head.decoder.initial_mlp'),
        ('model.decoder.lqe_layers.{}.reg_conf', 'head.quality_mlps.{}'),
        ('model.decoder.class_embed.{}', 'head.fc_cls.{}'),
        ('model.decoder.bbox_embed.{}', 'head.decoder.edge_mlps.{}'),
        ('model.decoder.scale', 'head.decoder.bin_scale'),
    ),
    # A constant, and second names of the decoder's layers of classes and boxes.
    dropped=r'.*\.num_points_scale$|(class|bbox)_embed\.',
)
AUTHORS_KEYS = KeyTable(
    (
        ('backbone', 'backbone'),
        *_convs(
            'encoder',
            'neck.0',
            (('in_proj', 'in_conv'), ('input_proj.{}', 'in_convs.{}'), ('bi_fusion.cv', 'mean_conv')),
        ),
        *_convs('encoder', 'neck.0', (('down_sample1', 'down_convs.0'), ('down_sample2', 'down_convs.1'))),
        *(
            (f'encoder.encoder.{{}}.layers.{{}}.{theirs}', f'neck.0.encoders.{{}}.{{}}.{ours}')
            for theirs, ours in (
                *((f'self_attn.{a}', f'self_attn.{b}') for a, b in (*_ATTENTION, ('out_proj', 'out_proj'))),
                ('norm1', 'norm_self'),
                ('linear1', 'linear1'),
                ('linear2', 'linear2'),
                ('norm2', 'norm_ffn'),
            )
        ),
        *_encoder(_AUTHORS_BLOCK, 'encoder', 'downsample_convs.0.0.cv'),
        ('decoder.denoising_class_embed', 'head.denoising.class_embed'),
        ('decoder.enc_score_head', 'head.selection.fc_cls'),
        ('decoder.enc_bbox_head', 'head.selection.bbox_mlp'),
        *(
            (f'decoder.decoder.layers.{{}}.{theirs}', f'{_LAYER}.{ours}')
            for theirs, ours in (
                *((f'self_attn.{a}', f'self_attn.{b}') for a, b in (*_ATTENTION, ('out_proj', 'out_proj'))),
                ('norm1', 'norm_self'),
                ('cross_attn.sampling_offsets', 'cross_attn.offsets'),
                ('cross_attn.attention_weights', 'cross_attn.weights'),
                ('gateway.gate', 'gate'),
                ('gateway.norm', 'norm_cross'),
                ('norm2', 'norm_cross'),
                ('swish_ffn.w12', 'linear1'),
                ('swish_ffn.w3', 'linear2'),
                ('norm3', 'norm_ffn'),
            )
        ),
        ('decoder.query_pos_head', 'head.decoder.position_mlp'),
        ('decoder.pre_bbox_head', 'head.decoder.initial_mlp'),
        ('decoder.decoder.lqe_layers.{}.reg_conf', 'head.quality_mlps.{}'),
        ('decoder.dec_score_head.{}', 'head.fc_cls.{}'),
        ('decoder.dec_bbox_head.{}', 'head.decoder.edge_mlps.{}'),
        ('decoder.scale', 'head.decoder.bin_scale'),
    ),
    # Constants: of the points, and of images of one size.
    dropped=r'.*\.num_points_scale$|decoder\.(anchors|valid_mask)$',
)


def layout_of(state: Mapping[str, Tensor]) -> str | None:
    """Return whose names a file's tensors have, 'hugging_face' or 'original'; None where it is no DEIMv2."""
    for layout, part, backbone in (
        ('hugging_face', 'model.decoder.layers.0.mlp.gate_proj.weight', 'model.conv_encoder.model.'),
        ('original', 'decoder.decoder.layers.0.swish_ffn.w12.weight', 'backbone.stem.'),
    ):
        if part in state and any(name.startswith(backbone) for name in state):
            return layout
    return None


def unpack(state: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
    """Return a file's tensors, each under a name that the layout's table knows.

    What is one tensor there and two here is taken apart, and what is two there and one here is joined. Second names of
    one tensor are left out. Tensors that neither side expects stay as they are, for the error that lists them.

    Args:
        state: the tensors by their names.
        layout: 'hugging_face' or 'original'.
    """
    unpacked: dict[str, Tensor] = {}
    for name, tensor in state.items():
        halved = _HALVED.fullmatch(name)
        if halved and tensor.ndim:
            for half, part in zip((half for half, _ in _HALVES), tensor.chunk(2), strict=False):
                unpacked[f'{halved[1]}.{half}.{halved[2]}'] = part
        elif halved:  # the count of batches, for both halves
            unpacked |= {f'{halved[1]}.{half}.{halved[2]}': tensor for half, _ in _HALVES}
        else:
            unpacked[name] = tensor
    return (_unpack_hub if layout == 'hugging_face' else _unpack_original)(unpacked)


def _unpack_hub(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for name in [name for name in state if '.mlp.gate_proj.' in name]:
        other = name.replace('.gate_proj.', '.up_proj.')
        if other in state and state[name].ndim and state[name].shape[1:] == state[other].shape[1:]:
            state[name.replace('.gate_proj.', '.gate_up_proj.')] = torch.cat((state.pop(name), state.pop(other)))
    for name in ('up', 'reg_scale'):
        if f'model.decoder.{name}' in state:
            state[f'model.decoder.scale.{name}'] = state.pop(f'model.decoder.{name}')
    return _without_copies(state, 'model.decoder.bbox_embed')


def _unpack_original(state: dict[str, Tensor]) -> dict[str, Tensor]:
    unpacked: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if '.self_attn.in_proj_' in name and tensor.ndim:
            start, end = name.split('in_proj_')
            for (part, _), third in zip(_ATTENTION, tensor.chunk(3), strict=False):
                unpacked[f'{start}{part}.{end}'] = third
        elif match := re.fullmatch(r'(encoder\.down_sample[12])\.([12])\.(.*)', name):
            unpacked[f'{match[1]}.{("conv", "norm")[int(match[2]) - 1]}.{match[3]}'] = tensor
        elif re.fullmatch(r'decoder\.decoder\.layers\.\d+\.(norm\d|gateway\.norm)\.scale', name):
            unpacked[f'{name.removesuffix("scale")}weight'] = tensor
        elif re.fullmatch(r'decoder\.(decoder\.)?(up|reg_scale)', name):
            unpacked[f'decoder.scale.{name.rpartition(".")[2]}'] = tensor  # under two names where it is shared
        else:
            unpacked[name] = tensor
    if 'encoder.fpn_block.cv1.conv.weight' in unpacked:  # one map comes in
        for kind in [name for name in unpacked if name.startswith('encoder.input_proj.0.')]:
            unpacked[kind.replace('input_proj.0', 'in_proj')] = unpacked.pop(kind)
    return _without_copies(unpacked, 'decoder.dec_bbox_head')


def _without_copies(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors with one MLP of edges where all layers have the same."""
    mlps: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        if match := re.fullmatch(rf'{re.escape(prefix)}\.(\d+)\.(.*)', name):
            mlps.setdefault(match[1], {})[match[2]] = tensor
    first = next(iter(mlps.values()), {})
    alike = all(
        own.keys() == first.keys() and all(map(torch.equal, own.values(), first.values())) for own in mlps.values()
    )
    if len(mlps) < 2 or not alike:
        return state
    kept = {name: tensor for name, tensor in state.items() if not name.startswith(f'{prefix}.')}
    return kept | {f'{prefix}.0.{name}': tensor for name, tensor in first.items()}
