"""The names of RF-DETR's parameters: transformers', its authors', and detkit's."""

from __future__ import annotations

from detkit.converters.common import KeyTable, Rows

_BLOCK = 'backbone.blocks.{}'
_PROJECTIONS = ('query', 'key', 'value')


def _projector(theirs: dict[str, str]) -> Rows:
    """Return the rows of the projector of one map.

    Args:
        theirs: names of the whole, of its last normalisation, of the first and the last convolution, of the blocks, of
            the two convolutions of a block, and of a normalisation.
    """
    c2f, ours = theirs['c2f'], 'neck.0.blocks.0'
    pairs = (
        (f'{c2f}.{theirs["first"]}', f'{ours}.in_conv'),
        (f'{c2f}.{theirs["last"]}', f'{ours}.out_conv'),
        *((f'{c2f}.{theirs["blocks"]}.{{}}.{theirs["conv"]}{k}', f'{ours}.blocks.{{}}.conv{k}') for k in (1, 2)),
    )
    return (
        (theirs['norm_out'], 'neck.0.norms.0'),
        *((f'{before}.conv', f'{after}.conv') for before, after in pairs),
        *((f'{before}.{theirs["norm"]}', f'{after}.bn') for before, after in pairs),
    )


def _backbone(root: str, attention: dict[str, str], last_norm: str) -> Rows:
    """Return the rows of the backbone, whose names are transformers' of DINOv2 in both layouts.

    Args:
        root: the prefix of all names.
        attention: their names of the projections of queries, keys and values, and of the output.
        last_norm: the name of the last normalisation.
    """
    layer = f'{root}.encoder.layer.{{}}'
    return (
        (f'{root}.embeddings.patch_embeddings.projection', 'backbone.embed.proj'),
        (f'{root}.{last_norm}', 'backbone.norm'),
        *((f'{layer}.attention.{theirs}', f'{_BLOCK}.attn.{ours}') for ours, theirs in attention.items()),
        *((f'{layer}.norm{k}', f'{_BLOCK}.norm{k}') for k in (1, 2)),
        *((f'{layer}.mlp.fc{k}', f'{_BLOCK}.linear{k}') for k in (1, 2)),
    )


class RFDETRKeys(KeyTable):
    """A table with the names of single tensors beside those of layers.

    Args:
        rows: see ``KeyTable``.
        root: their prefix of the backbone's names.
    """

    def __init__(self, rows: Rows, root: str) -> None:
        # A row's prefix ends before a dot, so that single tensors get one at their end.
        single = (
            (f'{root}.embeddings.cls_token', 'backbone.embed.class_token'),
            (f'{root}.embeddings.mask_token', 'backbone.embed.mask_token'),
            (f'{root}.embeddings.position_embeddings', 'backbone.embed.positions'),
            *((f'{root}.encoder.layer.{{}}.layer_scale{k}.lambda1', f'{_BLOCK}.scale{k}') for k in (1, 2)),
        )
        super().__init__((*single, *rows))

    def to_detkit(self, name: str) -> str | None:
        ours = super().to_detkit(f'{name}.')
        return ours and ours.removesuffix('.')

    def to_theirs(self, name: str) -> str:
        return super().to_theirs(f'{name}.').removesuffix('.')


RFDETR_KEYS = {
    'hugging_face': RFDETRKeys(
        (
            *_backbone(
                'model.backbone.backbone',
                {'out_proj': 'o_proj', **{f'{part}_proj': f'{part[0]}_proj' for part in _PROJECTIONS}},
                'layernorm',
            ),
            *_projector(
                dict(
                    c2f='model.backbone.projector.projector_layer',
                    first='conv1',
                    last='conv2',
                    blocks='bottlenecks',
                    conv='conv',
                    norm='norm',
                    norm_out='model.backbone.projector.layer_norm',
                )
            ),
        ),
        'model.backbone.backbone',
    ),
}
