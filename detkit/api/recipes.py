"""The config that trains or tests a model on some data, for people who want no config file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any

from detkit.api.opening import Opened, OpenedConfig
from detkit.config import configs_folder, counts_classes, load_config
from detkit.config.executed import plain
from detkit.config.source import sized_base
from detkit.config.top_level import datasets_in
from detkit.datasets.image_files import images_below
from detkit.datasets.transforms.cropping import Resize, ResizeShortestEdge
from detkit.datasets.transforms.geometry import LetterBox
from detkit.datasets.transforms.render import Render
from detkit.engine.run_folder import CONFIG_FILE
from detkit.inference.steps import factory_of, steps_of
from detkit.registry import BACKBONES, HEADS, SAMPLE_DATASETS
from detkit.utils.errors import ConfigError, DataError, nearest, refuse_long_name

_YAML = ('.yaml', '.yml')
# Names of the folders and files of each split; the first one that exists is used.
_TRAIN, _VAL = ('train',), ('val', 'valid', 'validation', 'test')
# Arguments of a head that follow the data; of the detector itself it is the class names that one of texts takes.
_FROM_DATA = ('num_classes', 'keypoint_shape', 'stuff_labels', 'img_size')
# In COCO's own folder, the files of annotations for each task.
_COCO_FILES = {'pose': 'person_keypoints', 'det': 'instances', 'seg': 'instances'}
# Variables of a config that name its data.
_NAMES_DATA = {'data_yaml', 'data_root'}
# Heads whose own family has no configs for their task, and the family of the configs that they go into.
_FAMILY_OF_HEAD = {'DFINEOBBHead': 'rtdetr', 'RFDETROBBHead': 'rtdetr'}
# Heads whose names do not begin as that of their family does.
_FAMILY_BY_NAME = {'RetinaHead': 'retinanet', 'YOLOWorldHead': 'yolo_world', 'MLPClassifyHead': 'yolov5'}
_TWO_STAGE_FAMILIES = {'det': 'faster_rcnn', 'seg': 'mask_rcnn', 'pose': 'keypoint_rcnn'}


@dataclass(frozen=True)
class Recipe:
    """A config file of detkit's, and the options that make it the config for a model and its data."""

    file: Path
    options: dict[str, Any] = field(default_factory=dict)


def find_recipe(opened: Opened, data: str | os.PathLike | None) -> Recipe:
    """Return the recipe for a model and its data.

    Args:
        opened: the model.
        data: a data.yaml or a folder with one; a folder with a folder for each class; a folder with COCO's JSON; the
            name of a sample set; None for the data of the model's own config.

    Data that are given are used with the recipe of the model's family for such data, and with the model alone of the
    config that the model comes from.

    Raises:
        ConfigError: no config fits the model's task and these data, or the model has no data of its own.
        DataError: the data are none of these.
    """
    if data is None:
        return _own_recipe(opened)
    if not isinstance(data, str | os.PathLike):
        raise TypeError(f'data are given as a path or as the name of a sample set, not as {type(data).__name__}')
    data = os.path.expanduser(data)
    config = opened.config
    family, task = _family(opened, config), config.get('task') or 'det'
    name, options = _data_config(os.fspath(data), task)
    folder = configs_folder() / family
    found = [file for file in sorted(folder.glob(name)) if options or _has_sample(file, os.fspath(data))]
    if not found:
        have = ', '.join(sorted(path.stem for path in folder.glob(f'{task}_*.py')))
        raise ConfigError(
            f'there is no config of {family} for the task {task!r} with data such as {os.fspath(data)!r}; its configs '
            f'are {have}'
        )
    if isinstance(opened, OpenedConfig):
        if _names(opened.file, found[0]):
            epochs = _epochs_for_other_data(found[0], opened.options)
            return Recipe(opened.file, {**epochs, **opened.options, **options})
        options |= {'load_from': config['load_from']} if config.get('load_from') else {}
    model = _model_options(config, found[0])
    return Recipe(found[0], {**model, **_epochs_for_other_data(found[0], model), **options})


def as_predicted(opened: Opened, recipe: Recipe, img_size: int) -> Recipe:
    """Return a recipe whose validation treats images as the model's own predictions do.

    What is taken from the model, where the recipe's options do not say otherwise, is the size, the limit of the longer
    side where the shorter one is resized to it, and the variables of configs that letterbox images (padding, smoothing,
    corners) or stretch them: weights of another project keep its settings, and a run may have had its own.

    Args:
        opened: the model.
        recipe: for some data, see ``find_recipe``.
        img_size: the size that the model predicts in.
    """
    config = load_config(recipe.file, need_classes=False)
    own, theirs = _letterbox_variables(opened.config), _letterbox_variables(config)
    differing = {name: value for name, value in own.items() if theirs and theirs[name] != value}
    own, theirs = _resizing_variables(opened.config), _resizing_variables(config)
    differing |= {name: value for name, value in own.items() if name in config and theirs.get(name, value) != value}
    limited = _limited_resize(opened.config)
    if limited is not None and 'max_size' in config:
        size, max_size = limited
        differing['max_size'] = round(max_size * img_size / size)
    return Recipe(recipe.file, {'img_size': img_size, **differing, **recipe.options})


def _letterbox_variables(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables of ``_base_/datasets/yolo_pipelines.py`` that make a config's test pipeline; or nothing."""
    steps = {factory_of(step): dict(step) for step in steps_of(config)}
    if LetterBox not in steps or Render not in steps:
        return {}
    render = {name: parameter.default for name, parameter in signature(Render).parameters.items()} | steps[Render]
    letterbox = {key: value for key, value in steps[LetterBox].items() if key not in ('type', 'size')}
    loader = config.get('test_dataloader') or config.get('val_dataloader')
    return {
        'prefilter_above': render['prefilter_above'],
        'align_corners': render['align_corners'],
        'pad_value': render['fill'],
        'size_divisor': letterbox.pop('size_divisor', 32),
        'letterbox': letterbox,
        'rect': bool(datasets_in(loader)[0].get('rect')),
    }


def _limited_resize(config: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the shorter side of a config's test images and the limit of the longer one; None where there is none."""
    step = next((step for step in steps_of(config) if factory_of(step) is ResizeShortestEdge), {})
    size, max_size = step.get('size'), step.get('max_size')
    return (size, max_size) if isinstance(size, int) and isinstance(max_size, int) else None


def _resizing_variables(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables of ``_base_/datasets/detr_pipelines.py`` that make a config's test pipeline; or nothing."""
    steps = {factory_of(step): dict(step) for step in steps_of(config)}
    keep_ratio = ResizeShortestEdge in steps
    if Render not in steps or not (keep_ratio or Resize in steps):
        return {}
    return {'keep_ratio': keep_ratio, 'antialias': bool(steps[Render].get('antialias'))}


def resumed_recipe(opened: Opened, data: str | os.PathLike | None) -> Recipe:
    """Return the recipe that goes on with the run that wrote a checkpoint.

    Raises:
        ConfigError: the model is no checkpoint in a run's folder; or other data are given.
    """
    if opened.run is None:
        raise ConfigError(f'{opened.name} is no checkpoint in the folder of a run, which could be resumed')
    if data is not None:
        raise ConfigError('a run is resumed with the data that it was started with; leave data out')
    return Recipe(opened.run / CONFIG_FILE)


def check_own_data(opened: Opened, recipe: Recipe) -> None:
    """Raise ``ConfigError`` where the config of a model says no data of its own, and a call gives none.

    That is a config for other people's data, whose class names are unknown without them.
    """
    if not isinstance(opened, OpenedConfig) or not _NAMES_DATA.isdisjoint(recipe.options):
        return
    config = load_config(recipe.file, recipe.options, need_classes=False, trains=False)
    if counts_classes(config) and config.model.head.get('num_classes') is None:
        raise ConfigError(
            f'{opened.name} has no data of its own; give data=: the path of a data.yaml or of a folder, or the name of '
            'a sample set'
        )


def _own_recipe(opened: Opened) -> Recipe:
    if isinstance(opened, OpenedConfig):
        return Recipe(opened.file, dict(opened.options))
    if opened.run is not None:
        return Recipe(opened.run / CONFIG_FILE)
    named = str(opened.meta.get('config_file') or '')
    file = next((path for path in (configs_folder().parent / named, Path(named)) if path.is_file()), None)
    if file is None:
        raise ConfigError(f'{opened.name} does not say on which data; give data=, such as the path of a data.yaml')
    return Recipe(file, _model_options(opened.config, file))


def _names(named: Path, file: Path) -> bool:
    """Return whether a config's file, of which a size may be part of the name, is ``file``."""
    base, _ = sized_base(named) or (named.name, '')
    return named.with_name(base).resolve() == file.resolve()


def _has_sample(file: Path, name: str) -> bool:
    """Return whether a config trains on a sample set."""
    datasets = datasets_in(load_config(file, need_classes=False).get('train_dataloader'))
    return any(dataset.get('sample') == name for dataset in datasets)


def _family(opened: Opened, config: Mapping[str, Any]) -> str:
    """Return the folder of configs of a model's family: that of its config, else the one that its head names."""
    file = opened.file if isinstance(opened, OpenedConfig) else Path(str(opened.meta.get('config_file')))
    families = sorted(path.name for path in configs_folder().iterdir() if not path.name.startswith('_'))
    head = str(config['model'].get('head', {}).get('type'))
    by_name = {**_FAMILY_BY_NAME, 'TwoStageHead': _TWO_STAGE_FAMILIES.get(config.get('task') or 'det')}
    named = [_FAMILY_OF_HEAD.get(head), file.parent.name]
    for kind in getattr(HEADS.get(head), '__mro__', ()):  # a head of one's own is of the family that it extends
        named += [by_name.get(kind.__name__), *(each for each in families if kind.__name__.lower().startswith(each))]
    return next((name for name in named if name in families), 'yolov8')


def _model_options(config: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """Return the options that give a config file the model of another config: its size, or else the whole model.

    With the whole model come the multiple that its images are padded to (a level of stride 64 takes 64), and no
    published weights by default where its backbone is another one than theirs.
    """
    wanted = _without_data(config['model'])
    as_is = load_config(file, need_classes=False)
    if _without_data(as_is['model']) == wanted:
        return {}
    for size in as_is.get('sizes') or ():
        if _without_data(load_config(file, {'size': size}, need_classes=False)['model']) == wanted:
            return {'size': size}
    options = {'model': wanted}
    own, theirs = _letterbox_variables(config), _letterbox_variables(as_is)
    if own and theirs and own['size_divisor'] != theirs['size_divisor']:
        options['size_divisor'] = own['size_divisor']
    if as_is.get('default_load_from') and _backbone_shapes(config) != _backbone_shapes(as_is):
        options['default_load_from'] = None
    return options


def _epochs_for_other_data(file: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the option that gives a config for COCO the epochs that its family has for other people's data."""
    custom = file.with_name(file.name.replace('_coco.py', '_custom.py'))
    if custom == file or not custom.is_file():
        return {}
    sized = {name: value for name, value in options.items() if name == 'size'}
    return {'max_epochs': load_config(custom, sized, need_classes=False)['max_epochs']}


def _backbone_shapes(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the shapes of the tensors of a config's backbone, by name."""
    from detkit.utils.without_memory import without_memory

    cfg = {key: value for key, value in config['model']['backbone'].items() if key != 'weights'}
    with without_memory():
        backbone = BACKBONES.build(cfg)
    return {name: tensor.shape for name, tensor in backbone.state_dict().items()}


def _without_data(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of a model without what follows its data and without weights that it starts from."""
    model = plain({key: value for key, value in model.items() if key != 'classes'})
    head = model.get('head')
    if isinstance(head, dict):
        head = model['head'] = {key: value for key, value in head.items() if key not in _FROM_DATA}
        if isinstance(head.get('loss_keypoint'), dict):
            head['loss_keypoint'] = {key: value for key, value in head['loss_keypoint'].items() if key != 'sigmas'}
    return model


def _data_config(data: str, task: str) -> tuple[str, dict[str, Any]]:
    """Return the name of a config, possibly with a pattern for a size, and the options that name the data."""
    if data in SAMPLE_DATASETS.names():
        return f'{task}_*{data.partition("-")[0]}.py', {}
    refuse_long_name(data, DataError)
    path = Path(data)
    if path.suffix.lower() in _YAML and path.is_file():
        return f'{task}_custom.py', {'data_yaml': data}
    if path.is_dir():
        for name in ('data.yaml', 'data.yml', 'dataset.yaml'):
            if (path / name).is_file():
                return f'{task}_custom.py', {'data_yaml': str(path / name)}
        found = _class_folders(path) if task == 'cls' else _coco_files(path, task)
        if found is not None:
            return f'{task}_{"custom" if task == "cls" else "coco"}.py', found
        wanted = (
            'folders train and val, each with a folder for each class'
            if task == 'cls'
            else "a data.yaml, or COCO's files such as annotations/instances_train.json"
        )
        raise DataError(f'{data!r} holds no data for the task {task!r}; expected is {wanted}')
    samples = SAMPLE_DATASETS.names()
    what = f'the file {data!r} is no data.yaml' if path.is_file() else f'there are no data {data!r}'
    raise DataError(
        f'{what}; give a data.yaml, a folder, or a sample set ({", ".join(sorted(samples))}).'
        f'{nearest(data, samples)} Data of other formats need a config file, see docs/dataset_formats.md'
    )


def _class_folders(root: Path) -> dict[str, Any] | None:
    """Return the options for a folder of class folders, in splits or not; None where there are no images in it."""
    train, val = (next((name for name in names if (root / name).is_dir()), None) for names in (_TRAIN, _VAL))
    if train is not None:
        options = {'data_root': str(root), 'train_folder': train}
        return {**options, **({'split': 0.8} if val is None else {'val_folder': val})}
    if not any(images_below(folder) for folder in root.iterdir() if folder.is_dir()):
        return None
    root = root.absolute()
    return {'data_root': str(root.parent), 'train_folder': root.name, 'split': 0.8}


def _coco_files(root: Path, task: str) -> dict[str, Any] | None:
    """Return the options for a folder with COCO's JSON; None where there is no file for training."""
    files = [path for pattern in ('*.json', '*/*.json') for path in sorted(root.glob(pattern))]
    kinds = {*_COCO_FILES.values(), 'captions', 'panoptic', 'stuff', 'image_info'} - {_COCO_FILES.get(task)}
    by_split: dict[str | None, Path] = {}
    for path in files:
        if not path.name.startswith(tuple(kinds)):
            by_split.setdefault(_split_of(path.relative_to(root)), path)
    train, val = by_split.get('train'), by_split.get('val') or by_split.get('test')
    if train is None:
        return None
    options = {'data_root': str(root), 'classes': None}
    options |= {'train_ann': train.relative_to(root).as_posix(), 'train_images': _images_of(train, root)}
    if val is None:
        return {**options, 'split': 0.8}
    return {**options, 'val_ann': val.relative_to(root).as_posix(), 'val_images': _images_of(val, root)}


def _split_of(path: Path) -> str | None:
    """Return the split of a file of annotations, 'train', 'val' or 'test': as its own name says, or else its folder's.

    Words that begin so count first: 'latest_val' is no test.
    """
    texts = [path.stem.lower(), path.parent.name.lower()]
    found = [re.search(beginning + '(train|val|test)', text) for text in texts for beginning in ('(?<![a-z])', '')]
    return next((match[1] for match in found if match), None)


def _images_of(path: Path, root: Path) -> str:
    """Return the folder, below ``root``, of the images of a file of annotations."""
    if path.parent != root and images_below(path.parent):  # Roboflow's: they are beside it
        return path.parent.relative_to(root).as_posix()
    split = path.stem.rpartition('_')[2]
    candidates = (split, f'images/{split}', 'images')
    return next((name for name in candidates if images_below(root / name)), '')
