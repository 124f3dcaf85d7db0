"""Names of parameters: ultralytics' YOLOv8 models of every task <-> detkit's (``key_table`` says what a row is).

A table serves all sizes, as these differ in widths and repeats only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from detkit.converters.key_table import Patterns, Rows, compile_rows, rename


def _c2f(theirs: str, ours: str) -> Rows:
    return (
        (f'{theirs}.cv1', f'{ours}.in_conv'),
        (f'{theirs}.cv2', f'{ours}.out_conv'),
        (f'{theirs}.m.{{}}.cv{{}}', f'{ours}.blocks.{{}}.conv{{}}'),
    )


_STAGES: Rows = (
    ('model.0', 'backbone.stem'),
    ('model.1', 'backbone.stages.0.0'),
    ('model.3', 'backbone.stages.1.0'),
    ('model.5', 'backbone.stages.2.0'),
    ('model.7', 'backbone.stages.3.0'),
    *_c2f('model.2', 'backbone.stages.0.1'),
    *_c2f('model.4', 'backbone.stages.1.1'),
    *_c2f('model.6', 'backbone.stages.2.1'),
    *_c2f('model.8', 'backbone.stages.3.1'),
)

_DETECTOR: Rows = (
    *_STAGES,
    ('model.9.cv1', 'neck.0.in_conv'),
    ('model.9.cv2', 'neck.0.out_conv'),
    ('model.16', 'neck.1.down_convs.0'),
    ('model.19', 'neck.1.down_convs.1'),
    *_c2f('model.12', 'neck.1.up_blocks.1'),
    *_c2f('model.15', 'neck.1.up_blocks.0'),
    *_c2f('model.18', 'neck.1.down_blocks.0'),
    *_c2f('model.21', 'neck.1.down_blocks.1'),
    ('model.22.cv2.{}.{}', 'head.bbox_branches.{}.{}'),
    ('model.22.cv3.{}.{}', 'head.cls_branches.{}.{}'),
)

YOLOV8_KEYS: dict[str, Rows] = {
    'det': _DETECTOR,
    'seg': (
        *_DETECTOR,
        ('model.22.cv4.{}.{}', 'head.coeff_branches.{}.{}'),
        ('model.22.proto.cv1', 'head.proto.conv1'),
        ('model.22.proto.upsample', 'head.proto.upsample'),
        ('model.22.proto.cv2', 'head.proto.conv2'),
        ('model.22.proto.cv3', 'head.proto.conv3'),
    ),
    'pose': (*_DETECTOR, ('model.22.cv4.{}.{}', 'head.keypoint_branches.{}.{}')),
    'obb': (*_DETECTOR, ('model.22.cv4.{}.{}', 'head.angle_branches.{}.{}')),
    'cls': (*_STAGES, ('model.9.conv', 'head.conv'), ('model.9.linear', 'head.fc_cls')),
}

# The fixed weights of DFL's integral, which detkit computes without parameters.
_DROPPED = re.compile(r'model\.22\.dfl\.')

_TO_DETKIT: dict[str, Patterns] = {task: compile_rows(rows) for task, rows in YOLOV8_KEYS.items()}
# detkit's names differ from task to task, so that one table serves all.
_TO_ULTRALYTICS: Patterns = compile_rows(
    dict.fromkeys((ours, theirs) for rows in YOLOV8_KEYS.values() for theirs, ours in rows)
)


def to_detkit(name: str, task: str = 'seg') -> str | None:
    """detkit's name of an ultralytics parameter or buffer; None for one that detkit has no need of.

    Args:
        task: 'det', 'seg', 'pose', 'obb' or 'cls'; 'seg' serves detection too.

    Raises:
        KeyError: the name is none of a YOLOv8 model of that task.
    """
    return None if _DROPPED.match(name) else rename(name, _TO_DETKIT[task])


def to_ultralytics(name: str) -> str:
    """The inverse of ``to_detkit``, for every task."""
    return rename(name, _TO_ULTRALYTICS)


def convert_state(state: Mapping[str, Tensor], task: str = 'seg') -> dict[str, Tensor]:
    """An ultralytics YOLOv8 state dict under detkit's names; the tensors are the same objects.

    Args:
        task: as of ``to_detkit``.
    """
    renamed = {to_detkit(name, task): tensor for name, tensor in state.items()}
    renamed.pop(None, None)
    return renamed
