"""``read_yolov5``: what a detection file of YOLOv5 holds, found out from its layer structure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from detkit.converters.inert_pickle import StandIn, TensorRef, TorchArchive
from detkit.converters.pickled_model import (
    Layer,
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

_EXPECTED = "YOLOv5's own files hold the whole model under 'ema' or 'model'"
_FAMILY = 'YOLOv5'

# Each layer's class, and the layers that it takes where that is not the one before.
_STAGES: tuple[Layer, ...] = (('Conv', -1), ('C3', -1)) * 3
_PYRAMID: tuple[Layer, ...] = (
    ('Conv', -1), ('Upsample', -1), ('Concat', [-1, 6]), ('C3', -1),
    ('Conv', -1), ('Upsample', -1), ('Concat', [-1, 4]), ('C3', -1),
    ('Conv', -1), ('Concat', [-1, 14]), ('C3', -1), ('Conv', -1), ('Concat', [-1, 10]), ('C3', -1),
    ('Detect', [17, 20, 23]),
)  # fmt: skip
_LAYERS: tuple[Layer, ...] = (('Conv', -1), *_STAGES, ('Conv', -1), ('C3', -1), ('SPPF', -1), *_PYRAMID)
_FOCUS_LAYERS: tuple[Layer, ...] = (('Focus', -1), *_STAGES, ('Conv', -1), ('SPP', -1), ('C3', -1), *_PYRAMID)
_STRIDES = [8, 16, 32]

# What shapes do not show, though outputs depend on it. An attribute that a version lacks has this value in it.
_COMMON = {'Upsample': {'scale_factor': 2, 'mode': 'nearest'}, 'Concat': {'d': 1}}
_ATTRIBUTES = {**_COMMON, 'model.9.m': {'kernel_size': 5}}
_FOCUS_ATTRIBUTES = {**_COMMON, **{f'model.8.m.{i}': {'kernel_size': size} for i, size in enumerate((5, 9, 13))}}

# Models of the project that are no detectors.
_OTHER_TASKS = {'SegmentationModel': 'a segmentation model', 'ClassificationModel': 'a classifier'}


@dataclass(frozen=True)
class YOLOv5Model:
    """A YOLOv5 detector as a file describes it.

    Attributes:
        classes: the names, by label.
        anchors: of each level, fine to coarse, (width, height) in pixels.
        focus: whether it has the layers of releases up to 5.0, which begin with a Focus layer.
        tensors: parameters and buffers by YOLOv5's names, not yet read.
        factors: depth and width factors that the file states, or None.
        norm_eps: of the batch normalisations.
        img_size: that the model was trained at, where the file tells it.
        entry: which of the file's models it is, 'ema' or 'model'.
        version: what is known of the release.
    """

    classes: tuple[str, ...]
    anchors: tuple[tuple[tuple[float, float], ...], ...]
    focus: bool
    tensors: dict[str, TensorRef]
    factors: tuple[float, float] | None
    norm_eps: float
    img_size: int | None
    entry: str
    version: str


def read_yolov5(archive: TorchArchive) -> YOLOv5Model:
    """Find the model in an open file, and check that it is a YOLOv5 detector of three levels.

    Raises:
        CheckpointError: it is not.
    """
    content, path = archive.content, archive.path
    entry, model = find_model(content, path, _EXPECTED)
    _check_kind(model, path)
    layers = layers_of(model, path, _FAMILY)
    focus = layers[0].kind == 'Focus'
    check_layers(layers, _FOCUS_LAYERS if focus else _LAYERS, model, path, _FAMILY, 'Detect')
    # The block behind Focus models' pooling has no shortcuts.
    shortcuts = ('2', '4', '6') if focus else ('2', '4', '6', '8')
    norm_eps = check_attributes(model, path, _FAMILY, _FOCUS_ATTRIBUTES if focus else _ATTRIBUTES, shortcuts)
    check_strides(archive, model, _FAMILY, _STRIDES)
    tensors = dict(tensors_of(model))
    version = text_or_empty(content.get('yolov5pip_version')) or ('up to 5.0' if focus else '6.0 or newer')
    return YOLOv5Model(
        class_names(model, layers[-1], path),
        _anchors(archive, tensors),
        focus,
        tensors,
        stated_factors(model.get('yaml')),
        norm_eps,
        stated_img_size(content.get('opt')),
        entry,
        version,
    )


def _check_kind(model: StandIn, path: Path) -> None:
    """Whether the model is of the project (its modules are ``models.…``, or ``yolov5.models.…`` of its package)."""
    project = model.path.startswith(('models.', 'yolov5.models.'))
    if project and model.kind in _OTHER_TASKS:
        raise CheckpointError(
            f'{path} holds {_OTHER_TASKS[model.kind]} of YOLOv5 ({model.path}); detkit converts its detectors.'
        )
    if not project or model.kind not in ('Model', 'DetectionModel'):
        hint = ' (tools/convert.py ultralytics)' if model.path.startswith('ultralytics.') else ''
        raise CheckpointError(f'{path} holds a {model.path}, no YOLOv5 model as its training writes it{hint}.')


def _anchors(archive: TorchArchive, tensors: dict[str, TensorRef]) -> tuple[tuple[tuple[float, float], ...], ...]:
    """(Width, height) in pixels, of each level."""
    ref = tensors.get('model.24.anchors')
    if ref is None or len(ref.size) != 3 or ref.size[0] != len(_STRIDES) or ref.size[2] != 2 or not ref.size[1]:
        shape = None if ref is None else tuple(ref.size)
        raise CheckpointError(
            f'{archive.path} has anchors of shape {shape}; expected width and height of some anchors '
            f'at each of {len(_STRIDES)} levels.'
        )
    shapes_wh = archive.read(ref).double()  # in units of the stride, a power of 2: exact in half precision, too
    if not (shapes_wh.isfinite() & (shapes_wh > 0)).all():
        raise CheckpointError(f'{archive.path} has anchors without a size: {shapes_wh.tolist()}.')
    return tuple(
        tuple(tuple(value * stride for value in shape) for shape in level)
        for level, stride in zip(shapes_wh.tolist(), _STRIDES, strict=True)
    )
