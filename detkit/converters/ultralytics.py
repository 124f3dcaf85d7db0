"""``convert_ultralytics``: a YOLOv8 ``.pt`` file of ultralytics -> a detkit checkpoint."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short_repr
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
from detkit.converters.inert_pickle import StandIn, TorchArchive
from detkit.converters.pickled_model import (
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
from detkit.structures.keypoints import COCO_KEYPOINTS, fill_metainfo
from detkit.utils.errors import CheckpointError

DATASETS = {'det': 'coco', 'seg': 'coco', 'pose': 'coco', 'obb': 'dota', 'cls': 'imagenet'}
TASK_NAMES = {
    'det': 'detection',
    'seg': 'segmentation',
    'pose': 'pose',
    'obb': 'oriented boxes',
    'cls': 'classification',
}
COCO_KEYPOINT_SHAPE = (17, 3)
NORM_EPS = 1e-3  # of the batch normalisations of every model but the classifiers
_STAGE_BLOCKS = (3, 6, 6, 3)
_EXPECTED = "ultralytics' own files hold the whole model under 'ema' or 'model'"

# The head's class says the task.
TASKS = {'Detect': 'det', 'Segment': 'seg', 'Pose': 'pose', 'OBB': 'obb', 'Classify': 'cls'}

# Each layer's class and its input layers; -1 is the layer before.
_STAGE_LAYERS = (('Conv', -1), *(('Conv', -1), ('C2f', -1)) * 4)
_DETECTOR_LAYERS = (
    *_STAGE_LAYERS, ('SPPF', -1),
    ('Upsample', -1), ('Concat', [-1, 6]), ('C2f', -1), ('Upsample', -1), ('Concat', [-1, 4]), ('C2f', -1),
    ('Conv', -1), ('Concat', [-1, 12]), ('C2f', -1), ('Conv', -1), ('Concat', [-1, 9]), ('C2f', -1),
)  # fmt: skip
_HEAD_INPUTS = [15, 18, 21]
_STRIDES = [8, 16, 32]
_SHORTCUT_LAYERS = ('2', '4', '6', '8')  # the backbone's C2f

# Attributes that decide the outputs but do not show in shapes. A version that lacks one behaves as with this value.
_ATTRIBUTES = {
    'MaxPool2d': {'kernel_size': 5},
    'SPPF': {'n': 3, 'add': False},
    'Upsample': {'scale_factor': 2, 'mode': 'nearest'},
    'Concat': {'d': 1},
}


@dataclass(frozen=True, kw_only=True)
class UltralyticsModel(PickledModel):
    """A YOLOv8 model as a file describes it.

    Attributes:
        task: 'det', 'seg', 'pose', 'obb' or 'cls'.
        keypoint_shape: the number of keypoints and of values each, of a pose model.
        keypoint_names: the names of the keypoints, where the file states them.
        licence: what the file states about its licence.
    """

    task: str
    keypoint_shape: tuple[int, int] | None = None
    keypoint_names: tuple[str, ...] | None = None
    licence: str = ''


def convert_ultralytics(source: str | Path, target: str | Path, configs: str | Path) -> list[str]:
    """Convert a file.

    Nothing in it is run, and the result depends on its content alone.

    Args:
        source: a ``.pt`` file that ultralytics wrote, of a YOLOv8 of any task and size.
        target: where the checkpoint goes, for ``predict``, ``test`` and ``load_from``.
        configs: detkit's folder of that name, whose configs for YOLOv8 describe the models.

    Returns:
        Lines for people: what was read and written, the config that fits, and how to go on.

    Raises:
        CheckpointError: the file is missing, damaged, or of another model; all parameters that are unknown, missing or
            of another shape are listed.
    """
    source, target, configs = Path(source), Path(target), Path(configs)
    check_paths(source, target)
    with TorchArchive(source) as archive:
        found = read_ultralytics(archive)
        file = configs / 'yolov8' / f'{found.task}_{DATASETS[found.task]}.py'
        scale = scale_of(found, file, source)
        description = describe_model(found, scale, file)
        model = description.build()
        names = match_names(found, model.state_dict(), source)
        state, precision = read_tensors(archive, found.tensors, names)
    converted_from = {
        'file': source.name,
        'project': 'ultralytics',
        'version': found.version,
        'entry': found.entry,
        'licence': found.licence,
    }
    save_converted(
        target, state, description.config, f'configs/yolov8/{file.name}', converted_from, keypoint_meta(found)
    )
    count = sum(param.numel() for param in model.parameters())
    folder = {'data_root': 'path/to/folder'} if found.task == 'cls' else None
    return [
        f'read     {source}: YOLOv8{scale.letter or ""} {TASK_NAMES[found.task]}, {shown_classes(found.classes)}, '
        f"weights '{found.entry}' in {precision} precision, by ultralytics {found.version}",
        *([f'licence  {found.licence} (says the file)'] if found.licence else []),
        f'wrote    {target}: {count:,} parameters',
        *description.advice(target, configs, f'{found.task}_custom.py', folder),
    ]


def scale_of(found: UltralyticsModel, file: Path, source: Path) -> Scale:
    """Return the size of the file's model, see ``find_scale``; ``file`` is a config of the family."""
    sizes = size_table(file)
    if found.task == 'cls':  # whose last stage is as wide in every size
        sizes = {letter: factors[:2] for letter, factors in sizes.items()}
    return find_scale(found, sizes, 'YOLOv8', source, 'model.0.conv.weight', (2, 4, 6, 8), _STAGE_BLOCKS)


def describe_model(found: UltralyticsModel, scale: Scale, file: Path) -> Description:
    """Return the config of the model's task and size, changed where the file's model differs."""
    config = load_sized(file, scale, found.img_size)
    model, classes = config['model'], config.get('classes')
    as_is = copy.deepcopy(model)
    set_classes(config, found.classes)
    if found.task == 'pose':
        model['head']['keypoint_shape'] = found.keypoint_shape
    if found.task == 'cls':
        model['batch_norm']['eps'] = found.norm_eps
    elif found.norm_eps != NORM_EPS:
        raise CheckpointError(
            f'The batch normalisations have eps {found.norm_eps:g}, where detectors of YOLOv8 have {NORM_EPS:g}.'
        )
    differs = {
        'keypoints': found.task == 'pose' and found.keypoint_shape != COCO_KEYPOINT_SHAPE,
        'normalisation': model.get('batch_norm') != as_is.get('batch_norm'),
        'classes': len(found.classes) != as_is['head'].get('num_classes'),
    }
    differences = tuple(name for name, value in differs.items() if value)
    return Description(config, file, scale.options(), differences, classes == found.classes)


def keypoint_meta(found: UltralyticsModel) -> dict[str, Any]:
    """Return what the file says about its keypoints; a person's 17 keypoints without names are COCO's."""
    if found.keypoint_shape is None:
        return {}
    count, names = found.keypoint_shape[0], found.keypoint_names
    if names is None and count == len(COCO_KEYPOINTS) and found.classes == ('person',):
        names = COCO_KEYPOINTS
    return fill_metainfo({'keypoint_names': names if names and len(names) == count else None}, count, 'the file')


def match_names(found: UltralyticsModel, expected: Mapping[str, Tensor], source: Path) -> dict[str, str]:
    """Return the file's name of each of detkit's parameters and buffers, see ``match_tensors``."""
    return match_tensors(
        shapes_of(found.tensors),
        expected,
        lambda name: to_detkit(name, found.task),
        to_ultralytics,
        f'{source} does not fit the YOLOv8 {TASK_NAMES[found.task]}',
    )


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
        task=task,
        classes=class_names(model, head, path),
        tensors=dict(tensors_of(model)),
        factors=stated_factors(model.get('yaml')),
        norm_eps=norm_eps,
        keypoint_shape=_keypoint_shape(head, path) if task == 'pose' else None,
        keypoint_names=_keypoint_names(model.get('kpt_names')),
        img_size=stated_img_size(content.get('train_args')),
        entry=entry,
        version=text_or_empty(content.get('version')) or 'an unknown version',
        licence=text_or_empty(content.get('license')),
    )


def _check_structure(layers: list[StandIn], model: StandIn, path: Path) -> str:
    """Return the task, if the layers are those of YOLOv8."""
    head = layers[-1].kind
    expected = _STAGE_LAYERS if head == 'Classify' else _DETECTOR_LAYERS
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
    """Return the keypoint names of a list, or of the first class in a table of lists."""
    if isinstance(names, dict) and names:
        names = names[min(names)]
    return tuple(map(str, names)) if isinstance(names, list | tuple) else None


# Names of parameters. A table serves all sizes, which differ in widths and repeats only.


def _c2f(theirs: str, ours: str) -> Rows:
    return (
        (f'{theirs}.cv1', f'{ours}.in_conv'),
        (f'{theirs}.cv2', f'{ours}.out_conv'),
        (f'{theirs}.m.{{}}.cv{{}}', f'{ours}.blocks.{{}}.conv{{}}'),
    )


_STAGE_KEYS: Rows = (
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

_DETECTOR_KEYS: Rows = (
    *_STAGE_KEYS,
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
    'det': _DETECTOR_KEYS,
    'seg': (
        *_DETECTOR_KEYS,
        ('model.22.cv4.{}.{}', 'head.coeff_branches.{}.{}'),
        ('model.22.proto.cv1', 'head.proto.conv1'),
        ('model.22.proto.upsample', 'head.proto.upsample'),
        ('model.22.proto.cv2', 'head.proto.conv2'),
        ('model.22.proto.cv3', 'head.proto.conv3'),
    ),
    'pose': (*_DETECTOR_KEYS, ('model.22.cv4.{}.{}', 'head.keypoint_branches.{}.{}')),
    'obb': (*_DETECTOR_KEYS, ('model.22.cv4.{}.{}', 'head.angle_branches.{}.{}')),
    'cls': (*_STAGE_KEYS, ('model.9.conv', 'head.conv'), ('model.9.linear', 'head.fc_cls')),
}

# The fixed weights of DFL's integral, which detkit computes without parameters.
_DROPPED = re.compile(r'model\.22\.dfl\.')

_TO_DETKIT: dict[str, Patterns] = {task: compile_rows(rows) for task, rows in YOLOV8_KEYS.items()}
# detkit's names differ from task to task, so that one table serves all.
_TO_ULTRALYTICS: Patterns = compile_rows(
    dict.fromkeys((ours, theirs) for rows in YOLOV8_KEYS.values() for theirs, ours in rows)
)


def to_detkit(name: str, task: str = 'seg') -> str | None:
    """Return detkit's name of an ultralytics parameter or buffer; None for one that detkit does not need.

    Args:
        task: 'det', 'seg', 'pose', 'obb' or 'cls'; 'seg' serves detection too.

    Raises:
        KeyError: the name is none of a YOLOv8 model of that task.
    """
    return None if _DROPPED.match(name) else rename(name, _TO_DETKIT[task])


def to_ultralytics(name: str) -> str:
    """Return the inverse of ``to_detkit``, for every task."""
    return rename(name, _TO_ULTRALYTICS)


def convert_state(state: Mapping[str, Tensor], task: str = 'seg') -> dict[str, Tensor]:
    """Return an ultralytics YOLOv8 state dict under detkit's names; the tensors are the same objects.

    Args:
        task: as in ``to_detkit``.
    """
    renamed = {to_detkit(name, task): tensor for name, tensor in state.items()}
    renamed.pop(None, None)
    return renamed
