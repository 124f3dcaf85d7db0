"""YOLO26 with a fourth level: its maps, the images it is compared on, and the names of its parameters."""

from __future__ import annotations

from detkit.converters.common import KeyTable, Rows
from detkit.converters.ultralytics_keys import _attention, _c2f, _c2psa, _c3k2

LEVELS = ('p2', 'p6')
SHAPE = (192, 256)  # which a stride of 64 divides
# The layers of the stages' blocks.
_STAGES = {'p2': (2, 4, 6, 8), 'p6': (2, 4, 6, 8, 10)}


def levels_keys(level: str, inner: str) -> KeyTable:
    """Return the names of a detector with a fourth level; ``inner`` is the block of its first two stages."""
    stages = _STAGES[level]
    pooling = stages[-1] + 1
    up = [pooling + 4, pooling + 7, pooling + 10]  # coarse to fine
    down = [up[-1] + 3, up[-1] + 6, up[-1] + 9]  # fine to coarse
    rows: Rows = (('model.0', 'backbone.stem'),)
    for i, number in enumerate(stages):
        block = _c2f if i < 2 and inner == 'bottleneck' else _c3k2
        rows += ((f'model.{number - 1}', f'backbone.stages.{i}.0'), *block(f'model.{number}', f'backbone.stages.{i}.1'))
    rows += (
        (f'model.{pooling}.cv1', 'neck.0.in_conv'),
        (f'model.{pooling}.cv2', 'neck.0.out_conv'),
        *_c2psa(f'model.{pooling + 1}', 'neck.1.block'),
    )
    for i, number in enumerate(up):
        rows += _c3k2(f'model.{number}', f'neck.2.up_blocks.{2 - i}')
    for i, number in enumerate(down):
        block = _attention if i == 2 else _c3k2
        rows += (
            (f'model.{number - 2}', f'neck.2.down_convs.{i}'),
            *block(f'model.{number}', f'neck.2.down_blocks.{i}'),
        )
    for prefix, ours in (('', 'head'), ('one2one_', 'head.one_to_one')):
        head = f'model.{down[-1] + 1}.{prefix}'
        rows += (
            (f'{head}cv2.{{}}.{{}}', f'{ours}.bbox_branches.{{}}.{{}}'),
            (f'{head}cv3.{{}}.{{}}', f'{ours}.cls_branches.{{}}.{{}}'),
        )
    return KeyTable(rows)
