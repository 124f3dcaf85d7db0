"""``convert_yolov5``: a detection ``.pt`` file of YOLOv5 -> a detkit checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from detkit.converters.common import (
    Description,
    Patterns,
    Rows,
    check_paths,
    compile_rows,
    match_tensors,
    rename,
    save_converted,
    set_classes,
    shown_classes,
    size_table,
)
from detkit.converters.inert_pickle import StandIn, TensorRef, TorchArchive
from detkit.converters.pickled_model import (
    Layer,
    PickledModel,
    Scale,
    check_attributes,
    check_layers,
    check_strides,
    class_names,
    find_model,
    find_scale,
    layers_of,
    load_sized,
    read_tensors,
    shapes_of,
    stated_factors,
    stated_img_size,
    tensors_of,
    text_or_empty,
)
from detkit.utils.errors import CheckpointError

NORM_EPS = 1e-3
_STAGE_BLOCKS = (3, 6, 9, 3)
# Releases up to 5.0 have their last block behind the pooling.
_FOCUS_STAGE_BLOCKS = (3, 9, 9, 0)
_FOCUS_LAST_BLOCKS = 3
_STEM_WEIGHT = 'backbone.stem.conv.weight'
_EXPECTED = "YOLOv5's own files hold the whole model under 'ema' or 'model'"
_FAMILY = 'YOLOv5'

# Each layer's class and its input layers; -1 is the layer before.
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

# Attributes that decide the outputs but do not show in shapes. A version that lacks one behaves as with this value.
_COMMON = {'Upsample': {'scale_factor': 2, 'mode': 'nearest'}, 'Concat': {'d': 1}}
_ATTRIBUTES = {**_COMMON, 'model.9.m': {'kernel_size': 5}}
_FOCUS_ATTRIBUTES = {**_COMMON, **{f'model.8.m.{i}': {'kernel_size': size} for i, size in enumerate((5, 9, 13))}}

# Models of the project that are no detectors.
_OTHER_TASKS = {'SegmentationModel': 'a segmentation model', 'ClassificationModel': 'a classifier'}


@dataclass(frozen=True, kw_only=True)
class YOLOv5Model(PickledModel):
    """A YOLOv5 detector as a file describes it.

    Attributes:
        anchors: the (width, height) in pixels of each level's anchors, fine to coarse.
        focus: whether it has the layers of releases up to 5.0, which begin with a Focus layer.
    """

    anchors: tuple[tuple[tuple[float, float], ...], ...]
    focus: bool = False


def convert_yolov5(source: str | Path, target: str | Path, configs: str | Path) -> list[str]:
    """Convert a file.

    Nothing in it is run, and the result depends on its content alone.

    Args:
        source: a ``.pt`` file of a detector of any size that YOLOv5, release 5.0 to 7.0, wrote.
        target: where the checkpoint goes, for ``predict``, ``test`` and ``load_from``.
        configs: detkit's folder of that name, whose configs for YOLOv5 describe the models.

    Returns:
        Lines for people: what was read and written, the config that fits, and how to go on.

    Raises:
        CheckpointError: the file is missing, damaged, or of another model; all parameters that are unknown, missing or
            of another shape are listed.
    """
    source, target, configs = Path(source), Path(target), Path(configs)
    check_paths(source, target)
    with TorchArchive(source) as archive:
        found = read_yolov5(archive)
        file = configs / 'yolov5' / 'det_coco.py'
        scale = scale_of(found, file, source)
        description = describe_model(found, scale, file)
        model = description.build()
        names = match_names(found, model.state_dict(), source)
        state, precision = read_tensors(archive, found.tensors, names)
    if found.focus:
        state[_STEM_WEIGHT] = focus_to_conv(state[_STEM_WEIGHT])
    converted_from = {'file': source.name, 'project': 'yolov5', 'version': found.version, 'entry': found.entry}
    save_converted(target, state, description.config, f'configs/yolov5/{file.name}', converted_from)
    count = sum(param.numel() for param in model.parameters())
    return [
        f'read     {source}: YOLOv5{scale.letter or ""} detection, {shown_classes(found.classes)}, weights '
        f"'{found.entry}' in {precision} precision, by YOLOv5 {found.version}",
        f'wrote    {target}: {count:,} parameters',
        *description.advice(target, configs, 'det_custom.py'),
    ]


def focus_to_conv(weight: Tensor) -> Tensor:
    """Return the kernel ``(N, C, 6, 6)`` of the stride-2 convolution that equals a Focus layer's ``(N, 4 C, 3, 3)``.

    Focus stacks the pixels of each 2x2 block as channels, column by column, and convolves those; one kernel on the
    pixels themselves, padded by 2, gives the same sums.
    """
    out_channels, _, height, width = weight.shape
    # (N, column, row, C, ky, kx) -> (N, C, ky, row, kx, column)
    blocks = weight.view(out_channels, 2, 2, -1, height, width).permute(0, 3, 4, 2, 5, 1)
    return blocks.reshape(out_channels, -1, 2 * height, 2 * width).contiguous()


def scale_of(found: YOLOv5Model, file: Path, source: Path) -> Scale:
    """Return the size of the file's model, see ``find_scale``; ``file`` is a config of the family."""
    if found.focus:
        stem, layers = 'model.0.conv.conv.weight', (2, 4, 6, 9)
        blocks = (*_FOCUS_STAGE_BLOCKS[:-1], _FOCUS_LAST_BLOCKS)
    else:
        stem, layers, blocks = 'model.0.conv.weight', (2, 4, 6, 8), _STAGE_BLOCKS
    return find_scale(found, size_table(file), _FAMILY, source, stem, layers, blocks)


def describe_model(found: YOLOv5Model, scale: Scale, file: Path) -> Description:
    """Return the config of the model's size, changed where the file's model differs."""
    config = load_sized(file, scale, found.img_size)
    classes, changes = tuple(config['classes']), model_changes(found, scale, config['model'])
    _apply(config['model'], changes)
    set_classes(config, found.classes)
    differs = {
        'layers (those of release 5.0)': found.focus,
        'anchors': 'head.anchors' in changes,
        'normalisation': 'batch_norm' in changes,
        'classes': len(classes) != len(found.classes),
    }
    return Description(
        config,
        file,
        scale.options(),
        tuple(name for name, value in differs.items() if value),
        classes == found.classes,
        # The configs have no batch_norm, so that it is added.
        {f'{"+" if key == "batch_norm" else ""}model.{key}': value for key, value in changes.items()},
    )


def model_changes(found: YOLOv5Model, scale: Scale, model: dict[str, Any]) -> dict[str, Any]:
    """Return the changes, by dotted key, that turn a config's model into the file's."""
    wanted: dict[str, Any] = {'head.anchors': [[(_whole(w), _whole(h)) for w, h in level] for level in found.anchors]}
    if found.focus:
        spp, pan = model['neck']
        last_block = {'type': 'LastBlock', 'num_blocks': _FOCUS_LAST_BLOCKS, 'deepen_factor': scale.deepen_factor}
        wanted['neck'] = [spp, last_block, pan]
        wanted['backbone.stage_blocks'] = _FOCUS_STAGE_BLOCKS
    if found.norm_eps != NORM_EPS:
        wanted['batch_norm'] = {'eps': found.norm_eps}
    return {key: value for key, value in wanted.items() if _plain(_look_up(model, key)) != _plain(value)}


def _look_up(model: dict[str, Any], key: str) -> Any:
    value: Any = model
    for part in key.split('.'):
        value = value[int(part)] if isinstance(value, list) else value.get(part)
    return value


def _apply(model: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        part, _, name = key.rpartition('.')
        (_look_up(model, part) if part else model)[name] = value


def _plain(value: Any) -> Any:
    """Return the value with lists in place of tuples, for comparison."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def _whole(value: float) -> float | int:
    return int(value) if value == int(value) else value


def match_names(found: YOLOv5Model, expected: Mapping[str, Tensor], source: Path) -> dict[str, str]:
    """Return the file's name of each of detkit's parameters and buffers, see ``match_tensors``."""
    shapes = shapes_of(found.tensors)

    def converted_shape(name: str) -> tuple[int, ...]:
        size = shapes[name]
        if found.focus and to_detkit(name, True) == _STEM_WEIGHT and len(size) == 4:
            return size[0], size[1] // 4, 2 * size[2], 2 * size[3]
        return size

    return match_tensors(
        shapes,
        expected,
        lambda name: to_detkit(name, found.focus),
        lambda name: to_yolov5(name, found.focus),
        f'{source} does not fit the YOLOv5 detection',
        converted_shape,
    )


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
        classes=class_names(model, layers[-1], path),
        anchors=_anchors(archive, tensors),
        focus=focus,
        tensors=tensors,
        factors=stated_factors(model.get('yaml')),
        norm_eps=norm_eps,
        img_size=stated_img_size(content.get('opt')),
        entry=entry,
        version=version,
    )


def _check_kind(model: StandIn, path: Path) -> None:
    """Refuse a model of another project; YOLOv5's modules are ``models.…``, or ``yolov5.models.…`` of its package."""
    project = model.path.startswith(('models.', 'yolov5.models.'))
    if project and model.kind in _OTHER_TASKS:
        raise CheckpointError(
            f'{path} holds {_OTHER_TASKS[model.kind]} of YOLOv5 ({model.path}); detkit converts its detectors.'
        )
    if not project or model.kind not in ('Model', 'DetectionModel'):
        hint = ' (tools/convert.py ultralytics)' if model.path.startswith('ultralytics.') else ''
        raise CheckpointError(f'{path} holds a {model.path}, no YOLOv5 model as its training writes it{hint}.')


def _anchors(archive: TorchArchive, tensors: dict[str, TensorRef]) -> tuple[tuple[tuple[float, float], ...], ...]:
    """Return the (width, height) in pixels of each level's anchors."""
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
    """Return detkit's name of a YOLOv5 parameter or buffer; None for one that detkit does not need.

    Args:
        focus: whether the model begins with a Focus layer.

    Raises:
        KeyError: the name is none of such a model.
    """
    return None if name in _DROPPED else rename(name, _TO_DETKIT[focus])


def to_yolov5(name: str, focus: bool = False) -> str:
    """Return the inverse of ``to_detkit``."""
    return rename(name, _TO_YOLOV5[focus])
