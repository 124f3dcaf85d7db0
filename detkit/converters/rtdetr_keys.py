"""The names of an RT-DETR's parameters in detkit, in the files of its authors, and in those of the Hugging Face Hub."""

from __future__ import annotations

from detkit.converters.common import KeyTable, Rows

# Maps of the encoder, and with them the steps between them.
_LEVELS = 3
_DECODER = 'head.decoder.layers.{}'
# Parts of a fusion block, theirs and detkit's.
_BLOCK = (('conv1', 'conv1'), ('conv2', 'conv2'), ('conv3', 'conv3'), ('bottlenecks.{}.conv1', 'blocks.{}.branch3'))
_BLOCK = (*_BLOCK, ('bottlenecks.{}.conv2', 'blocks.{}.branch1'))
_ATTENTION = (('q_proj', 'query_proj'), ('k_proj', 'key_proj'), ('v_proj', 'value_proj'), ('out_proj', 'out_proj'))
_DEFORMABLE = (
    ('sampling_offsets', 'offsets'),
    ('attention_weights', 'weights'),
    ('value_proj', 'value_proj'),
    ('output_proj', 'out_proj'),
)


def _fusion(theirs: str) -> Rows:
    """Return the rows of the encoder's convolutions; both projects go from coarse to fine in their first half."""
    rows = []
    for step in range(_LEVELS - 1):
        finer = _LEVELS - 2 - step
        parts = [(f'lateral_convs.{step}', f'reduce_convs.{finer}'), (f'downsample_convs.{step}', f'down_convs.{step}')]
        parts += [(f'fpn_blocks.{step}.{part}', f'up_blocks.{finer}.{ours}') for part, ours in _BLOCK]
        parts += [(f'pan_blocks.{step}.{part}', f'down_blocks.{step}.{ours}') for part, ours in _BLOCK]
        for part, ours in parts:
            rows += [
                (f'{theirs}.{part}.conv', f'neck.0.fusion.{ours}.conv'),
                (f'{theirs}.{part}.norm', f'neck.0.fusion.{ours}.bn'),
            ]
    return tuple(rows)


def _pairs(theirs: str, ours: str, parts: Rows) -> Rows:
    return tuple((f'{theirs}.{name}', f'{ours}.{own}') for name, own in parts)


def _hub_resnet() -> Rows:
    """Return the rows of a ResNet of variant d."""
    rows = []
    for index, (conv, bn) in enumerate((('conv1.0', 'conv1.1'), ('conv1.3', 'conv1.4'), ('conv1.6', 'bn1'))):
        rows += _pairs(f'embedder.embedder.{index}', '', (('convolution', conv), ('normalization', bn)))
    for stage in range(4):
        block, own = f'encoder.stages.{stage}.layers.{{}}', f'layer{stage + 1}.{{}}'
        for conv in range(3):
            parts = (('convolution', f'conv{conv + 1}'), ('normalization', f'bn{conv + 1}'))
            rows += _pairs(f'{block}.layer.{conv}', own, parts)
        shortcut = 'shortcut.1' if stage else 'shortcut'  # behind a pooling, if strided
        parts = (('convolution', 'downsample.1'), ('normalization', 'downsample.2'))
        rows += _pairs(f'{block}.{shortcut}', own, parts)
    return tuple((f'model.backbone.model.{theirs}', f'backbone.{ours.lstrip(".")}') for theirs, ours in rows)


HUB_KEYS = KeyTable(
    (
        *_hub_resnet(),
        ('model.encoder_input_proj.{}.0', 'neck.0.in_convs.{}.conv'),
        ('model.encoder_input_proj.{}.1', 'neck.0.in_convs.{}.bn'),
        *_pairs('model.encoder.encoder.{}.layers.{}.self_attn', 'neck.0.encoders.{}.{}.self_attn', _ATTENTION),
        ('model.encoder.encoder.{}.layers.{}.self_attn_layer_norm', 'neck.0.encoders.{}.{}.norm_self'),
        ('model.encoder.encoder.{}.layers.{}.fc{}', 'neck.0.encoders.{}.{}.linear{}'),
        ('model.encoder.encoder.{}.layers.{}.final_layer_norm', 'neck.0.encoders.{}.{}.norm_ffn'),
        *_fusion('model.encoder'),
        ('model.decoder_input_proj.{}.0', 'head.in_convs.{}.conv'),
        ('model.decoder_input_proj.{}.1', 'head.in_convs.{}.bn'),
        ('model.denoising_class_embed', 'head.denoising.class_embed'),
        ('model.enc_output.0', 'head.selection.linear'),
        ('model.enc_output.1', 'head.selection.norm'),
        ('model.enc_score_head', 'head.selection.fc_cls'),
        ('model.enc_bbox_head.layers.{}', 'head.selection.bbox_mlp.layers.{}'),
        *_pairs('model.decoder.layers.{}.self_attn', f'{_DECODER}.self_attn', _ATTENTION),
        ('model.decoder.layers.{}.self_attn_layer_norm', f'{_DECODER}.norm_self'),
        *_pairs('model.decoder.layers.{}.encoder_attn', f'{_DECODER}.cross_attn', _DEFORMABLE),
        ('model.decoder.layers.{}.encoder_attn_layer_norm', f'{_DECODER}.norm_cross'),
        ('model.decoder.layers.{}.fc{}', f'{_DECODER}.linear{{}}'),
        ('model.decoder.layers.{}.final_layer_norm', f'{_DECODER}.norm_ffn'),
        ('model.decoder.query_pos_head.layers.{}', 'head.decoder.position_mlp.layers.{}'),
        ('model.decoder.class_embed.{}', 'head.fc_cls.{}'),
        ('model.decoder.bbox_embed.{}.layers.{}', 'head.decoder.bbox_mlps.{}.layers.{}'),
    ),
    # Version 2 holds a constant, and older files a second name of what the layers of the decoder share with the head.
    dropped=r'.*\.n_points_scale$|(class|bbox)_embed\.',
)
