"""Names of parameters: ultralytics' YOLOv8 detection and segmentation models <-> detkit's.

Rows are prefixes, ``{}`` standing for a number; what follows a prefix (``conv.weight``, ``bn.running_mean``, …) is the
same on both sides. The table serves all sizes, as these differ in widths and repeats only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_C2F = (
    ('model.2', 'backbone.stages.0.1'),
    ('model.4', 'backbone.stages.1.1'),
    ('model.6', 'backbone.stages.2.1'),
    ('model.8', 'backbone.stages.3.1'),
    ('model.12', 'neck.1.up_blocks.1'),
    ('model.15', 'neck.1.up_blocks.0'),
    ('model.18', 'neck.1.down_blocks.0'),
    ('model.21', 'neck.1.down_blocks.1'),
)

YOLOV8_KEYS: tuple[tuple[str, str], ...] = (
    ('model.0', 'backbone.stem'),
    ('model.1', 'backbone.stages.0.0'),
    ('model.3', 'backbone.stages.1.0'),
    ('model.5', 'backbone.stages.2.0'),
    ('model.7', 'backbone.stages.3.0'),
    ('model.9.cv1', 'neck.0.in_conv'),
    ('model.9.cv2', 'neck.0.out_conv'),
    ('model.16', 'neck.1.down_convs.0'),
    ('model.19', 'neck.1.down_convs.1'),
    *((f'{theirs}.cv1', f'{ours}.in_conv') for theirs, ours in _C2F),
    *((f'{theirs}.cv2', f'{ours}.out_conv') for theirs, ours in _C2F),
    *((f'{theirs}.m.{{}}.cv{{}}', f'{ours}.blocks.{{}}.conv{{}}') for theirs, ours in _C2F),
    ('model.22.cv2.{}.{}', 'head.bbox_branches.{}.{}'),
    ('model.22.cv3.{}.{}', 'head.cls_branches.{}.{}'),
    ('model.22.cv4.{}.{}', 'head.coeff_branches.{}.{}'),
    ('model.22.proto.cv1', 'head.proto.conv1'),
    ('model.22.proto.upsample', 'head.proto.upsample'),
    ('model.22.proto.cv2', 'head.proto.conv2'),
    ('model.22.proto.cv3', 'head.proto.conv3'),
)

# The fixed weights of DFL's integral, which detkit computes without parameters.
_DROPPED = re.compile(r'model\.22\.dfl\.')


def _compile(rows) -> list[tuple[re.Pattern, str]]:
    return [
        (re.compile(re.escape(source).replace(r'\{\}', r'(\d+)') + r'(?=\.)'), target) for source, target in rows
    ]


_TO_DETKIT = _compile(YOLOV8_KEYS)
_TO_ULTRALYTICS = _compile((ours, theirs) for theirs, ours in YOLOV8_KEYS)


def _rename(name: str, rows: list[tuple[re.Pattern, str]]) -> str:
    for pattern, target in rows:
        if match := pattern.match(name):
            return target.format(*match.groups()) + name[match.end() :]
    raise KeyError(name)


def to_detkit(name: str) -> str | None:
    """detkit's name of an ultralytics parameter or buffer; None for one that detkit has no need of.

    Raises:
        KeyError: the name is none of a YOLOv8 detection or segmentation model.
    """
    return None if _DROPPED.match(name) else _rename(name, _TO_DETKIT)


def to_ultralytics(name: str) -> str:
    """The inverse of ``to_detkit``."""
    return _rename(name, _TO_ULTRALYTICS)


def convert_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An ultralytics YOLOv8 state dict under detkit's names; the tensors are the same objects."""
    renamed = {to_detkit(name): tensor for name, tensor in state.items()}
    renamed.pop(None, None)
    return renamed
