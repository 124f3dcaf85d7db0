"""``convert_darknet``: a Darknet ``.weights`` file -> a detkit checkpoint, and back."""

from __future__ import annotations

import copy
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from detkit.config import load_config
from detkit.converters.darknet_cfg import Section, SectionReader, format_cfg, parse_cfg
from detkit.converters.darknet_layout import Layout, compare_layers, yolo_anchors
from detkit.converters.darknet_weights import Header, count_numbers, from_stream, read_stream, to_stream
from detkit.converters.result import check_paths, save_converted, set_classes, shown_classes, shown_options, shown_path
from detkit.inference.model import init_detector
from detkit.inference.steps import detector_size
from detkit.models.layers import ConvModule
from detkit.registry import BACKBONES, DETECTORS
from detkit.utils.errors import CheckpointError

# For each family: the value of its config's ``size``, and the image size of its published .cfg.
FAMILIES = {'YOLOv3': ('full', 608), 'YOLOv3-SPP': ('spp', 608), 'YOLOv3-tiny': ('tiny', 416)}
_BACKBONE = 'Darknet-53'
_MAX_CLASSES = 10_000  # more is a coincidence of the number of parameters
Anchors = list[list[tuple[float, float]]]


@dataclass(frozen=True)
class Family:
    """A model that a stream may be of.

    Attributes:
        name: as people call it.
        file: the config that describes it.
        config: resolved, with the stream's classes and anchors.
        same_model: whether ``file`` describes the very same model.
    """

    name: str
    file: Path
    config: dict[str, Any]
    same_model: bool

    def build(self) -> nn.Module:
        """The detector, without memory: only names and shapes count."""
        with torch.device('meta'):
            return DETECTORS.build(copy.deepcopy(self.config['model']))


def convert_darknet(
    source: str | Path,
    target: str | Path,
    configs: str | Path,
    cfg: str | Path | None = None,
    names: str | Path | None = None,
) -> list[str]:
    """Converts a file, in the direction that its content says.

    Args:
        source: a ``.weights`` file of YOLOv3, YOLOv3-SPP or YOLOv3-tiny, or ``darknet53.conv.74``; or a checkpoint of
            detkit, of such a model.
        target: where the checkpoint goes; or the ``.weights`` file, beside which its ``.cfg`` and ``.names`` are
            written.
        configs: detkit's folder of that name, whose configs for YOLOv3 are the models' descriptions.
        cfg: the ``.cfg`` of a ``.weights`` file, whose layers are checked and whose anchors, classes and image size are
            taken; without it the model is recognised by its number of parameters.
        names: the class names of a ``.weights`` file, one a line.

    Returns:
        Lines for people: what was read and written, the config that fits, and how to go on.

    Raises:
        CheckpointError: a file is missing, damaged, or of another model.
    """
    source, target = Path(source), Path(target)
    check_paths(source, target)
    if zipfile.is_zipfile(source):
        if cfg or names:
            raise CheckpointError(
                f'{source} is a checkpoint of detkit, which holds what a .cfg and a .names file say; '
                'they are written beside the .weights file.'
            )
        return export_darknet(source, target)
    return import_darknet(source, target, Path(configs), cfg and Path(cfg), names and Path(names))


def import_darknet(
    source: Path, target: Path, configs: Path, cfg: Path | None = None, names: Path | None = None
) -> list[str]:
    """``.weights`` -> checkpoint; arguments, result and errors as of ``convert_darknet``."""
    header, values = read_stream(source)
    origin = {'file': source.name, 'project': 'Darknet', 'images_seen': header.seen}
    with torch.device('meta'):
        backbone = BACKBONES.build(dict(type='Darknet', depth=53))
    layers = Layout(backbone).layers
    if len(values) == count_numbers(layers, backbone.state_dict()):
        state = from_stream(values, layers, backbone.state_dict(), source, _BACKBONE)
        state = {f'backbone.{name}': tensor for name, tensor in state.items()}
        save_converted(target, state, None, '', origin)
        train = shown_path(configs.parent / 'tools' / 'train.py')
        config = shown_path(configs / 'yolov3' / 'det_coco.py')
        return [
            f'read     {source}: {_BACKBONE} without a head, {len(values):,} numbers',
            f'wrote    {target}',
            f'train    python {train} {config} --cfg-options model.backbone.weights={target}',
        ]

    classes = _read_names(names) if names else None
    family = _of_cfg(cfg, configs) if cfg else _of_count(len(values), source, configs)
    count = family.config['model']['head']['num_classes']
    if classes is not None and len(classes) != count:
        raise CheckpointError(f'{names} names {len(classes)} classes, but {cfg or source} has {count}.')
    as_published = tuple(family.config.get('classes') or ())
    if classes is None:
        classes = as_published if len(as_published) == count else tuple(f'class {i}' for i in range(count))
    set_classes(family.config, classes)
    model = family.build()
    state = from_stream(values, Layout(model).layers, model.state_dict(), source, family.name)
    save_converted(target, state, family.config, f'configs/yolov3/{family.file.name}', origin)
    return [
        f'read     {source}: {family.name}, {shown_classes(classes)}, {len(values):,} numbers, trained on '
        f'{header.seen:,} images',
        f'wrote    {target}',
        *_advice(family, target, configs, classes == as_published),
    ]


def export_darknet(source: Path, target: Path) -> list[str]:
    """Checkpoint -> ``.weights``, ``.cfg`` and ``.names``.

    Returns:
        Lines for people.

    Raises:
        CheckpointError: the checkpoint is damaged, or of a model that Darknet has no layers for; or another ``.cfg`` or
            ``.names`` is in the way.
    """
    model = init_detector(None, source, device='cpu', fuse=False)
    layout = Layout(model)
    eps = {name: module.bn.eps for name, module in model.named_modules() if isinstance(module, ConvModule)}
    values = to_stream(layout.layers, model.state_dict(), eps)
    size = detector_size(model.cfg)
    net = Section('net', dict(width=str(size), height=str(size), channels=str(model.backbone.stem.conv.in_channels)))
    texts = {
        target.with_suffix('.cfg'): format_cfg([net, *layout.sections()]),
        target.with_suffix('.names'): ''.join(f'{name}\n' for name in model.dataset_meta['classes']),
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        if path.exists() and (path == target or path.read_text(encoding='utf-8') != text):
            raise CheckpointError(
                f'{path} is in the way: another file stands where one is to be written beside '
                f'{target}. Give another name.'
            )
    temporary = target.with_name(f'.{target.name}.tmp')
    with open(temporary, 'wb') as file:
        file.write(Header().to_bytes())
        values.tofile(file)
    os.replace(temporary, target)
    for path, text in texts.items():
        path.write_text(text, encoding='utf-8')
    return [
        f'read     {source}: {shown_classes(model.dataset_meta["classes"])}',
        f'wrote    {target}: {len(values):,} numbers',
        *(f'wrote    {path}' for path in texts),
    ]


def _of_cfg(path: Path, configs: Path) -> Family:
    """The family whose layers a ``.cfg`` has.

    Raises:
        CheckpointError: it is none of them; says where it departs from the nearest.
    """
    if not path.is_file():
        raise CheckpointError(f'{path} does not exist; give the path of a .cfg file.')
    net, sections = parse_cfg(path.read_text(encoding='utf-8', errors='replace'), path)
    heads = [SectionReader(section, i, path) for i, section in enumerate(sections) if section.kind == 'yolo']
    if not heads:
        raise CheckpointError(f'{path} has no [yolo] layer; what can be converted is {", ".join(FAMILIES)}.')
    num_classes = heads[0].number('classes', 20)
    anchors = [[*yolo_anchors(head)] for head in reversed(heads)]  # Darknet's order is coarse to fine
    size = SectionReader(net, -1, path).number('width', 0)
    if size != SectionReader(net, -1, path).number('height', 0):
        size = 0  # detkit's images are as large as its config says, so that a side of its own would be lost
    found = []
    for name in FAMILIES:
        levels = 2 if name == 'YOLOv3-tiny' else 3
        if len(anchors) != levels:
            continue
        family = _family(name, configs, num_classes, anchors, size)
        agreeing, problem = compare_layers(sections, Layout(family.build()).sections(), path, name)
        if problem is None:
            return family
        found.append((agreeing, problem))
    nearest = f' {max(found)[1]}.' if found else ''
    raise CheckpointError(f'{path} describes none of {", ".join(FAMILIES)}.{nearest}')


def _of_count(count: int, source: Path, configs: Path) -> Family:
    """The family and number of classes that a number of parameters can only be of.

    Raises:
        CheckpointError: none has as many, or several have.
    """
    found, published = [], []
    for name in FAMILIES:
        model = _family(name, configs, 1).build()
        one = count_numbers(Layout(model).layers, model.state_dict())
        each = sum(param.numel() for param in model.head.parameters()) // 6  # x, y, w, h, objectness and a class
        more, rest = divmod(count - one, each)
        if rest == 0 and 0 <= more < _MAX_CLASSES:
            found.append(_family(name, configs, more + 1))
        published.append(f'{name} {one + 79 * each:,}')
    if len(found) == 1:
        return found[0]
    if found:
        raise CheckpointError(
            f'{source} holds {count:,} numbers, as many as several models have '
            f'({", ".join(family.name for family in found)}): give its .cfg file (--cfg).'
        )
    raise CheckpointError(
        f'{source} holds {count:,} numbers, which no model has, whatever its classes (with 80: '
        f'{", ".join(published)}). The file is truncated, or of another model.'
    )


def _family(name: str, configs: Path, num_classes: int, anchors: Anchors | None = None, img_size: int = 0) -> Family:
    """A family with other classes and anchors.

    Raises:
        CheckpointError: its config is missing.
    """
    size, published_size = FAMILIES[name]
    path = configs / 'yolov3' / 'det_coco.py'
    if not path.is_file():
        raise CheckpointError(f"{path} is missing, which describes the model; give the folder of detkit's configs.")
    config = load_config(path, {'size': size, 'img_size': img_size or published_size}).to_dict()
    as_is = copy.deepcopy(config['model'])
    config['model']['head']['num_classes'] = num_classes
    if anchors and not np.array_equal(anchors, as_is['head']['anchors']):
        config['model']['head']['anchors'] = anchors
    return Family(name, path, config, config['model'] == as_is)


def _read_names(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        raise CheckpointError(f'{path} does not exist; give the path of a .names file, one class a line.')
    lines = (line.strip() for line in path.read_text(encoding='utf-8', errors='replace').splitlines())
    return tuple(line for line in lines if line)


def _advice(family: Family, target: Path, configs: Path, same_classes: bool) -> Sequence[str]:
    """Which config fits, how to predict, and how to go on."""
    tools = configs.parent / 'tools'
    predict, test, train = (shown_path(tools / f'{name}.py') for name in ('predict', 'test', 'train'))
    shown, size = shown_path(family.file), {'size': FAMILIES[family.name][0]}
    options = shown_options(size)
    if family.same_model:
        lines = [
            f'config   {shown}{options}',
            f'predict  python {predict} {shown} {target} photo.jpg{options}',
        ]
        if same_classes:
            lines.append(f'test     python {test} {shown} {target}{options}')
    else:
        lines = [
            f"config   {shown}{options} with other classes or anchors; write '-' for it, as the checkpoint holds it",
            f'predict  python {predict} - {target} photo.jpg',
        ]
    custom = shown_path(family.file.with_name('det_custom.py'))
    options = shown_options({'data_yaml': 'path/to/data.yaml', 'load_from': str(target), **size})
    lines.append(f'train    python {train} {custom}{options}')
    return lines
