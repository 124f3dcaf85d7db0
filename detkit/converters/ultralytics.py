"""``convert_ultralytics``: a YOLOv8 ``.pt`` file of ultralytics -> a detkit checkpoint."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detkit.config import load_config
from detkit.converters.inert_pickle import TorchArchive
from detkit.converters.matching import Scale, fit_scale, match_tensors, read_tensors, size_table, stage_shapes
from detkit.converters.result import check_paths, save_converted, set_classes, shown_classes, shown_options, shown_path
from detkit.converters.ultralytics_file import UltralyticsModel, read_ultralytics
from detkit.converters.ultralytics_keys import to_detkit, to_ultralytics
from detkit.registry import DETECTORS
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
NORM_EPS = 1e-3  # of the batch normalisations, but for those of classifiers
_STAGE_CHANNELS = (64, 128, 256, 512, 1024)
_STAGE_BLOCKS = (3, 6, 6, 3)


def convert_ultralytics(source: str | Path, target: str | Path, configs: str | Path) -> list[str]:
    """Convert a file.

    Nothing in it is run, and the result depends on its content alone.

    Args:
        source: a ``.pt`` file that ultralytics wrote, of a YOLOv8 of any task and size.
        target: where the checkpoint goes, for ``predict``, ``test`` and ``load_from``.
        configs: detkit's folder of that name, whose configs for YOLOv8 are the models' descriptions.

    Returns:
        Lines for people: what was read and written, the config that fits, and how to go on.

    Raises:
        CheckpointError: the file is missing, damaged, or of another model; all parameters that are unknown, missing or
            of another shape are listed.
    """
    source, target = Path(source), Path(target)
    check_paths(source, target)
    with TorchArchive(source) as archive:
        found = read_ultralytics(archive)
        file = Path(configs) / 'yolov8' / f'{found.task}_{DATASETS[found.task]}.py'
        scale = find_scale(found, size_table(file), source)
        description = describe_model(found, scale, file)
        with torch.device('meta'):  # no memory, no initial values: only names and shapes count
            model = DETECTORS.build(description.config['model'])
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
        target,
        state,
        description.config,
        f'configs/yolov8/{description.file.name}',
        converted_from,
        keypoint_meta(found),
    )
    count = sum(param.numel() for param in model.parameters())
    return [
        f'read     {source}: YOLOv8{scale.letter or ""} {TASK_NAMES[found.task]}, {shown_classes(found.classes)}, '
        f"weights '{found.entry}' in {precision} precision, by ultralytics {found.version}",
        *([f'licence  {found.licence} (says the file)'] if found.licence else []),
        f'wrote    {target}: {count:,} parameters',
        *_advice(found, description, target),
    ]


def find_scale(found: UltralyticsModel, sizes: dict[str, tuple[float, ...]], source: Path) -> Scale:
    """The factors that give the file's channels and repeats; those of a size that has a letter, if one does.

    Args:
        sizes: of the family, by letter: deepen_factor, widen_factor, max_channels.

    Raises:
        CheckpointError: no factors do.
    """
    widths, repeats = stage_shapes(
        found.tensors,
        [f'model.{layer}.conv.weight' for layer in (0, 1, 3, 5, 7)],
        [f'model.{layer}.m' for layer in (2, 4, 6, 8)],
    )
    known = [
        Scale(letter, deepen, widen, 1024 if found.task == 'cls' else most)
        for letter, (deepen, widen, most) in sizes.items()
    ]
    scale = fit_scale(widths, repeats, known, _STAGE_CHANNELS, _STAGE_BLOCKS, found.factors)
    if scale is None:
        raise CheckpointError(
            f'{source} is a YOLOv8 with {widths} channels and {repeats} repeats of its stages, which '
            'no depth and width factors give.'
        )
    return scale


@dataclass(frozen=True)
class Description:
    """A model's config.

    Attributes:
        config: as the checkpoint holds it, with the file's classes.
        file: that it comes from.
        options: what gives ``file`` the model's size.
        same_model: whether the file, with these options, describes the very same model.
        same_classes: whether the file's data have the same class names.
    """

    config: dict[str, Any]
    file: Path
    options: dict[str, Any]
    same_model: bool
    same_classes: bool


def describe_model(found: UltralyticsModel, scale: Scale, file: Path) -> Description:
    """Return the config of the model's task and size, changed where the file's model differs."""
    options = scale.variables('deepen_factor', 'widen_factor', 'max_channels')
    img_size = {'img_size': found.img_size} if found.img_size else {}
    config = load_config(file, {**options, **img_size}).to_dict()
    as_is, classes = copy.deepcopy(config['model']), config.get('classes')
    if found.task == 'pose':
        as_is['head'].setdefault('keypoint_shape', COCO_KEYPOINT_SHAPE)  # as the data of the config have
    _set_model(config['model'], found)
    set_classes(config, found.classes)
    same_classes = classes is not None and tuple(classes) == found.classes
    return Description(config, file, options, config['model'] == as_is, same_classes)


def _set_model(model: dict[str, Any], found: UltralyticsModel) -> None:
    if found.task == 'pose':
        model['head']['keypoint_shape'] = found.keypoint_shape
    if found.task == 'cls':
        model['batch_norm']['eps'] = found.norm_eps
    elif found.norm_eps != NORM_EPS:
        raise CheckpointError(
            f'The batch normalisations have eps {found.norm_eps:g}, where detectors of YOLOv8 have {NORM_EPS:g}.'
        )


def keypoint_meta(found: UltralyticsModel) -> dict[str, Any]:
    """What the file says of its keypoints; where it names none and they are a person's 17, they are COCO's."""
    if found.keypoint_shape is None:
        return {}
    count, names = found.keypoint_shape[0], found.keypoint_names
    if names is None and count == len(COCO_KEYPOINTS) and found.classes == ('person',):
        names = COCO_KEYPOINTS
    return fill_metainfo({'keypoint_names': names if names and len(names) == count else None}, count, 'the file')


def match_names(found: UltralyticsModel, expected: dict[str, Tensor], source: Path) -> dict[str, str]:
    """The file's name of each of detkit's parameters and buffers, in detkit's order.

    Raises:
        CheckpointError: some are unknown, missing or of another shape; it lists them all.
    """
    return match_tensors(
        found.tensors,
        expected,
        lambda name: to_detkit(name, found.task),
        to_ultralytics,
        f'{source} does not fit the YOLOv8 {TASK_NAMES[found.task]}',
    )


def _advice(found: UltralyticsModel, description: Description, target: Path) -> list[str]:
    """Which config fits, how to predict, and how to go on."""
    shown, options = shown_path(description.file), shown_options(description.options)
    tools = description.file.parents[2] / 'tools'
    predict, test, train = (shown_path(tools / f'{name}.py') for name in ('predict', 'test', 'train'))
    if description.same_model:
        lines = [
            f'config   {shown}{options}',
            f'predict  python {predict} {shown} {target} photo.jpg{options}',
        ]
        if description.same_classes:
            lines.append(f'test     python {test} {shown} {target}{options}')
    else:
        keypoints = found.task == 'pose' and found.keypoint_shape != COCO_KEYPOINT_SHAPE
        lines = [
            f"config   {shown}{options} with other {'keypoints' if keypoints else 'classes'}; write '-' for it, as the "
            'checkpoint holds it',
            f'predict  python {predict} - {target} photo.jpg',
        ]
    custom = description.file.with_name(f'{found.task}_custom.py')
    if custom.is_file():
        data = {'data_root': 'path/to/folder'} if found.task == 'cls' else {'data_yaml': 'path/to/data.yaml'}
        options = shown_options({**data, 'load_from': str(target), **description.options})
        lines.append(f'train    python {train} {shown_path(custom)}{options}')
    return lines
