"""``convert_yolov5``: a detection ``.pt`` file of YOLOv5 -> a detkit checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from detkit.converters.common import Description, KeyTable, Rows, set_classes
from detkit.converters.inert_pickle import StandIn, TensorRef, TorchArchive
from detkit.converters.model_file import STRIDES, Layer, ModelFile
from detkit.converters.pickled_model import NORM_EPS, PickledModel, Scale, Stages, convert_pickled
from detkit.utils.errors import CheckpointError

_STAGES = Stages('model.0.conv.weight', block_layers=(2, 4, 6, 8), stage_blocks=(3, 6, 9, 3))
# Releases up to 5.0 have their last block behind the pooling.
_FOCUS_STAGES = Stages('model.0.conv.conv.weight', block_layers=(2, 4, 6, 9), stage_blocks=(3, 9, 9, 3))
_STEM_WEIGHT = 'backbone.stem.conv.weight'

# Each layer's class and its input layers; -1 is the layer before.
_BLOCKS: tuple[Layer, ...] = (('Conv', -1), ('C3', -1)) * 3
_PYRAMID: tuple[Layer, ...] = (
    ('Conv', -1), ('Upsample', -1), ('Concat', [-1, 6]), ('C3', -1),
    ('Conv', -1), ('Upsample', -1), ('Concat', [-1, 4]), ('C3', -1),
    ('Conv', -1), ('Concat', [-1, 14]), ('C3', -1), ('Conv', -1), ('Concat', [-1, 10]), ('C3', -1),
    ('Detect', [17, 20, 23]),
)  # fmt: skip
_LAYERS: tuple[Layer, ...] = (('Conv', -1), *_BLOCKS, ('Conv', -1), ('C3', -1), ('SPPF', -1), *_PYRAMID)
_FOCUS_LAYERS: tuple[Layer, ...] = (('Focus', -1), *_BLOCKS, ('Conv', -1), ('SPP', -1), ('C3', -1), *_PYRAMID)

# Attributes that decide the outputs but do not show in shapes.
_ATTRIBUTES = {'model.9.m': {'kernel_size': 5}}
_FOCUS_ATTRIBUTES = {f'model.8.m.{i}': {'kernel_size': size} for i, size in enumerate((5, 9, 13))}

# Models of the project that are no detectors.
_OTHER_TASKS = {'SegmentationModel': 'a segmentation model', 'ClassificationModel': 'a classifier'}


@dataclass(frozen=True, kw_only=True)
class YOLOv5Model(PickledModel):
    """A YOLOv5 detector as a file describes it.

    Attributes:
        anchors: the (width, height) in pixels of each level's anchors, fine to coarse.
        focus: whether it has the layers of releases up to 5.0, which begin with a Focus layer.
    """

    writer = family = 'YOLOv5'
    config = 'yolov5/det_coco.py'

    anchors: tuple[tuple[tuple[float, float], ...], ...]
    focus: bool = False

    @property
    def keys(self) -> KeyTable:
        return YOLOV5_KEYS[self.focus]

    @property
    def stages(self) -> Stages:
        return _FOCUS_STAGES if self.focus else _STAGES

    def converted_shape(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        if self.focus and name == _FOCUS_STAGES.stem and len(shape) == 4:
            return shape[0], shape[1] // 4, 2 * shape[2], 2 * shape[3]
        return shape

    def convert(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**state, _STEM_WEIGHT: focus_to_conv(state[_STEM_WEIGHT])} if self.focus else state

    @property
    def input_options(self) -> dict[str, Any]:
        # The thresholds are those of detect.py.
        return {**super().input_options, 'predict_cfg.iou_thr': 0.45, 'predict_cfg.max_per_img': 1000}

    def describe(self, scale: Scale, file: Path) -> Description:
        config = self.load_config(scale, file)
        classes, model = tuple(config['classes']), config['model']
        changes = self._changes(scale, model)
        for key, value in changes.items():
            part, _, name = key.rpartition('.')
            (model[part] if part else model)[name] = value
        set_classes(config, self.classes)
        differs = {
            'layers (those of release 5.0)': self.focus,
            'anchors': 'head.anchors' in changes,
            'normalisation': 'batch_norm' in changes,
            'classes': len(classes) != len(self.classes),
        }
        return Description(
            config,
            file,
            {**scale.options(), **self.input_options},
            tuple(name for name, value in differs.items() if value),
            classes == self.classes,
            # The configs have no batch_norm, so that it is added.
            {f'{"+" if key == "batch_norm" else ""}model.{key}': value for key, value in changes.items()},
        )

    def _changes(self, scale: Scale, model: dict[str, Any]) -> dict[str, Any]:
        """Return the changes, by dotted key, that turn a config's model into the file's."""
        changes: dict[str, Any] = {}
        if not np.array_equal(self.anchors, model['head']['anchors']):
            changes['head.anchors'] = [[(_whole(w), _whole(h)) for w, h in level] for level in self.anchors]
        if self.focus:
            *stage_blocks, last = _FOCUS_STAGES.stage_blocks
            spp, pan = model['neck']
            last_block = {'type': 'LastBlock', 'num_blocks': last, 'deepen_factor': scale.deepen_factor}
            changes['neck'] = [spp, last_block, pan]
            changes['backbone.stage_blocks'] = (*stage_blocks, 0)
        if self.norm_eps != NORM_EPS:
            changes['batch_norm'] = {'eps': self.norm_eps}
        return changes


def convert_yolov5(source: str | Path, target: str | Path, configs: str | Path) -> list[str]:
    """Convert a file of a detector of any size that YOLOv5, release 5.0 to 7.0, wrote, see ``convert_pickled``."""
    return convert_pickled(source, target, configs, read_yolov5)


def focus_to_conv(weight: Tensor) -> Tensor:
    """Return the kernel ``(N, C, 6, 6)`` of the stride-2 convolution that equals a Focus layer's ``(N, 4 C, 3, 3)``.

    Focus stacks the pixels of each 2x2 block as channels, column by column, and convolves those; one kernel on the
    pixels themselves, padded by 2, gives the same sums.
    """
    out_channels, _, height, width = weight.shape
    # (N, column, row, C, ky, kx) -> (N, C, ky, row, kx, column)
    blocks = weight.view(out_channels, 2, 2, -1, height, width).permute(0, 3, 4, 2, 5, 1)
    return blocks.reshape(out_channels, -1, 2 * height, 2 * width).contiguous()


def _whole(value: float) -> float | int:
    return int(value) if value == int(value) else value


def read_yolov5(archive: TorchArchive) -> YOLOv5Model:
    """Find the model in an open file, and check that it is a YOLOv5 detector of three levels.

    Raises:
        CheckpointError: it is not.
    """
    file = ModelFile(archive, 'YOLOv5', 'YOLOv5')
    _check_kind(file.model, file.path)
    focus = file.layers()[0].kind == 'Focus'
    file.check_layers(_FOCUS_LAYERS if focus else _LAYERS, 'Detect')
    # The block behind Focus models' pooling has no shortcuts.
    norm_eps = file.check_attributes(_FOCUS_ATTRIBUTES if focus else _ATTRIBUTES, (2, 4, 6) if focus else (2, 4, 6, 8))
    file.check_strides()
    return YOLOv5Model(
        anchors=_anchors(archive, file.tensors()),
        focus=focus,
        norm_eps=norm_eps,
        img_size=file.img_size('opt'),
        version=file.text('yolov5pip_version') or ('up to 5.0' if focus else '6.0 or newer'),
        **file.description(),
    )


def _check_kind(model: StandIn, path: Path) -> None:
    """Refuse a model of another project; YOLOv5's modules are ``models.…``, or ``yolov5.models.…`` of its package."""
    project = model.path.startswith(('models.', 'yolov5.models.'))
    if project and model.kind in _OTHER_TASKS:
        raise CheckpointError(
            f'{path} holds {_OTHER_TASKS[model.kind]} of YOLOv5 ({model.path}); detkit converts its detectors.'
        )
    if not project or model.kind not in ('Model', 'DetectionModel'):
        hint = ' (detkit convert ultralytics)' if model.path.startswith('ultralytics.') else ''
        raise CheckpointError(f'{path} holds a {model.path}, no YOLOv5 model as its training writes it{hint}.')


def _anchors(archive: TorchArchive, tensors: dict[str, TensorRef]) -> tuple[tuple[tuple[float, float], ...], ...]:
    """Return the (width, height) in pixels of each level's anchors."""
    ref = tensors.get('model.24.anchors')
    if ref is None or len(ref.size) != 3 or ref.size[0] != len(STRIDES) or ref.size[2] != 2 or not ref.size[1]:
        shape = None if ref is None else tuple(ref.size)
        raise CheckpointError(
            f'{archive.path} has anchors of shape {shape}; expected width and height of some anchors '
            f'at each of {len(STRIDES)} levels.'
        )
    shapes_wh = archive.read(ref).double()  # in units of the stride, a power of 2: exact in half precision, too
    if not (shapes_wh.isfinite() & (shapes_wh > 0)).all():
        raise CheckpointError(f'{archive.path} has anchors without a size: {shapes_wh.tolist()}.')
    return tuple(
        tuple(tuple(value * stride for value in shape) for shape in level)
        for level, stride in zip(shapes_wh.tolist(), STRIDES, strict=True)
    )


# Names of parameters. A table serves all sizes, which differ in widths and repeats only.


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
    """Return the rows that all releases share; ``pan`` is the path aggregation's prefix in detkit's neck."""
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


_ANCHORS = r'model\.24\.(anchors|anchor_grid)$'  # which detkit's config holds

# The key says whether the model begins with a Focus layer, as those of releases up to 5.0 do.
YOLOV5_KEYS: dict[bool, KeyTable] = {
    False: KeyTable(
        (
            ('model.0', 'backbone.stem'),
            *_c3('model.8', 'backbone.stages.3.1'),
            *_spp('model.9'),
            *_detector('neck.1'),
        ),
        _ANCHORS,
    ),
    True: KeyTable(
        (
            ('model.0.conv', 'backbone.stem'),
            *_spp('model.8'),
            *_c3('model.9', 'neck.1.block'),
            *_detector('neck.2'),
        ),
        _ANCHORS,
    ),
}
