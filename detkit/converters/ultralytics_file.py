"""``read_ultralytics``: what a YOLOv8 file of ultralytics holds, found out from its layer structure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

from detkit.converters.inert_pickle import StandIn, TensorRef, TorchArchive
from detkit.converters.pickled_model import (
    check_attributes,
    check_layers,
    check_strides,
    class_names,
    find_model,
    layers_of,
    stated_factors,
    stated_img_size,
    tensors_of,
    text_or_empty,
)
from detkit.utils.errors import CheckpointError

_EXPECTED = "ultralytics' own files hold the whole model under 'ema' or 'model'"

# The head's class says the task.
TASKS = {'Detect': 'det', 'Segment': 'seg', 'Pose': 'pose', 'OBB': 'obb', 'Classify': 'cls'}

# Each layer's class, and the layers that it takes where that is not the one before.
_STAGES = (('Conv', -1), *(('Conv', -1), ('C2f', -1)) * 4)
_DETECTOR = (
    *_STAGES, ('SPPF', -1),
    ('Upsample', -1), ('Concat', [-1, 6]), ('C2f', -1), ('Upsample', -1), ('Concat', [-1, 4]), ('C2f', -1),
    ('Conv', -1), ('Concat', [-1, 12]), ('C2f', -1), ('Conv', -1), ('Concat', [-1, 9]), ('C2f', -1),
)  # fmt: skip
_HEAD_INPUTS = [15, 18, 21]
_STRIDES = [8, 16, 32]
_SHORTCUT_LAYERS = ('2', '4', '6', '8')  # the backbone's C2f

# What shapes do not show, though outputs depend on it. An attribute that a version lacks has this value in it.
_ATTRIBUTES = {
    'MaxPool2d': {'kernel_size': 5},
    'SPPF': {'n': 3, 'add': False},
    'Upsample': {'scale_factor': 2, 'mode': 'nearest'},
    'Concat': {'d': 1},
}


@dataclass(frozen=True)
class UltralyticsModel:
    """A YOLOv8 model as a file describes it.

    Attributes:
        task: 'det', 'seg', 'pose', 'obb' or 'cls'.
        classes: the names, by label.
        tensors: parameters and buffers by ultralytics' names, not yet read.
        factors: depth and width factors that the file states, or None.
        norm_eps: of the batch normalisations.
        keypoint_shape: number of keypoints and of values each, of a pose model.
        keypoint_names: the names of the keypoints, where the file tells them.
        img_size: that the model was trained at, where the file tells it.
        entry: which of the file's models it is, 'ema' or 'model'.
        version, licence: what the file says about its origin.
    """

    task: str
    classes: tuple[str, ...]
    tensors: dict[str, TensorRef]
    factors: tuple[float, float] | None
    norm_eps: float
    keypoint_shape: tuple[int, int] | None
    keypoint_names: tuple[str, ...] | None
    img_size: int | None
    entry: str
    version: str
    licence: str


def read_ultralytics(archive: TorchArchive) -> UltralyticsModel:
    """Find the model in an open file, and check that it is a YOLOv8 of one of the five tasks.

    Raises:
        CheckpointError: it is not.
    """
    content, path = archive.content, archive.path
    entry, model = find_model(content, path, _EXPECTED)
    if not model.path.startswith('ultralytics.'):
        family = ' of the YOLOv5 repository or one of its descendants' if 'models.yolo.' in model.path else ''
        hint = " (YOLOv5's files: tools/convert.py yolov5)" if family else ''
        raise CheckpointError(f'{path} holds a {model.path}{family}, no YOLOv8 model of ultralytics{hint}.')
    layers = layers_of(model, path, 'YOLOv8')
    task = _check_structure(layers, model, path)
    norm_eps = check_attributes(model, path, 'YOLOv8', _ATTRIBUTES, _SHORTCUT_LAYERS)
    if task != 'cls':
        check_strides(archive, model, 'YOLOv8', _STRIDES)
    head = layers[-1]
    return UltralyticsModel(
        task,
        class_names(model, head, path),
        dict(tensors_of(model)),
        stated_factors(model.get('yaml')),
        norm_eps,
        _keypoint_shape(head, path) if task == 'pose' else None,
        _keypoint_names(model.get('kpt_names')),
        stated_img_size(content.get('train_args')),
        entry,
        text_or_empty(content.get('version')) or 'an unknown version',
        text_or_empty(content.get('license')),
    )


def _check_structure(layers: list[StandIn], model: StandIn, path: Path) -> str:
    """The task, if the layers are those of YOLOv8."""
    head = layers[-1].kind
    expected = _STAGES if head == 'Classify' else _DETECTOR
    expected = (*expected, (head if head in TASKS else 'Detect', -1 if head == 'Classify' else _HEAD_INPUTS))
    check_layers(layers, expected, model, path, 'YOLOv8', 'Detect, Segment, Pose, OBB or Classify')
    return TASKS[head]


def _keypoint_shape(head: StandIn, path: Path) -> tuple[int, int]:
    shape = head.get('kpt_shape')
    if not (
        isinstance(shape, list | tuple)
        and len(shape) == 2
        and all(isinstance(value, int) for value in shape)
        and shape[0] > 0
        and shape[1] in (2, 3)
    ):
        raise CheckpointError(
            f'{path} has keypoints of shape {short_repr(shape)}; expected their number, and 2 or 3 values each.'
        )
    return shape[0], shape[1]


def _keypoint_names(names: Any) -> tuple[str, ...] | None:
    """From a list, or a table of lists by class of which the first counts."""
    if isinstance(names, dict) and names:
        names = names[min(names)]
    return tuple(map(str, names)) if isinstance(names, list | tuple) else None
