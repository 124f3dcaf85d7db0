"""Names of parameters: YOLOv5's detection models of every size <-> detkit's (``key_table`` says what a row is)."""

from __future__ import annotations

from detkit.converters.key_table import Patterns, Rows, compile_rows, rename


def _c3(theirs: str, ours: str) -> Rows:
    return (
        (f'{theirs}.cv1', f'{ours}.main_conv'),
        (f'{theirs}.cv2', f'{ours}.side_conv'),
        (f'{theirs}.cv3', f'{ours}.out_conv'),
        (f'{theirs}.m.{{}}.cv{{}}', f'{ours}.blocks.{{}}.conv{{}}'),
    )


def _spp(theirs: str) -> Rows:
    return (f'{theirs}.cv1', 'neck.0.in_conv'), (f'{theirs}.cv2', 'neck.0.out_conv')


def _detector(pan: str) -> Rows:
    """What all releases have; ``pan`` is the path aggregation's place in detkit's neck."""
    return (
        ('model.1', 'backbone.stages.0.0'),
        ('model.3', 'backbone.stages.1.0'),
        ('model.5', 'backbone.stages.2.0'),
        ('model.7', 'backbone.stages.3.0'),
        *_c3('model.2', 'backbone.stages.0.1'),
        *_c3('model.4', 'backbone.stages.1.1'),
        *_c3('model.6', 'backbone.stages.2.1'),
        ('model.10', f'{pan}.reduce_convs.1'),
        ('model.14', f'{pan}.reduce_convs.0'),
        ('model.18', f'{pan}.down_convs.0'),
        ('model.21', f'{pan}.down_convs.1'),
        *_c3('model.13', f'{pan}.up_blocks.1'),
        *_c3('model.17', f'{pan}.up_blocks.0'),
        *_c3('model.20', f'{pan}.down_blocks.0'),
        *_c3('model.23', f'{pan}.down_blocks.1'),
        ('model.24.m.{}', 'head.convs.{}'),
    )


# By whether the model begins with a Focus layer, as releases up to 5.0 do.
YOLOV5_KEYS: dict[bool, Rows] = {
    False: (
        ('model.0', 'backbone.stem'),
        *_c3('model.8', 'backbone.stages.3.1'),
        *_spp('model.9'),
        *_detector('neck.1'),
    ),
    True: (('model.0.conv', 'backbone.stem'), *_spp('model.8'), *_c3('model.9', 'neck.1.block'), *_detector('neck.2')),
}

# The anchors, which detkit's config holds.
_DROPPED = ('model.24.anchors', 'model.24.anchor_grid')

_TO_DETKIT: dict[bool, Patterns] = {focus: compile_rows(rows) for focus, rows in YOLOV5_KEYS.items()}
_TO_YOLOV5: dict[bool, Patterns] = {
    focus: compile_rows((ours, theirs) for theirs, ours in rows) for focus, rows in YOLOV5_KEYS.items()
}


def to_detkit(name: str, focus: bool = False) -> str | None:
    """detkit's name of a YOLOv5 parameter or buffer; None for one that detkit has no need of.

    Args:
        focus: whether the model begins with a Focus layer.

    Raises:
        KeyError: the name is none of such a model.
    """
    return None if name in _DROPPED else rename(name, _TO_DETKIT[focus])


def to_yolov5(name: str, focus: bool = False) -> str:
    """The inverse of ``to_detkit``."""
    return rename(name, _TO_YOLOV5[focus])
