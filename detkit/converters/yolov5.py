"""``convert_yolov5``: a detection ``.pt`` file of YOLOv5 -> a detkit checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detkit.config import load_config
from detkit.converters.inert_pickle import TorchArchive
from detkit.converters.matching import Scale, fit_scale, match_tensors, read_tensors, size_table, stage_shapes
from detkit.converters.result import check_paths, save_converted, set_classes, shown_classes, shown_options, shown_path
from detkit.converters.yolov5_file import YOLOv5Model, read_yolov5
from detkit.converters.yolov5_keys import to_detkit, to_yolov5
from detkit.registry import DETECTORS
from detkit.utils.errors import CheckpointError

NORM_EPS = 1e-3
_MAX_CHANNELS = 1024
_STAGE_CHANNELS = (64, 128, 256, 512, 1024)
_STAGE_BLOCKS = (3, 6, 9, 3)
# Of releases up to 5.0, whose last block stands behind the pooling.
_FOCUS_STAGE_BLOCKS = (3, 9, 9, 0)
_FOCUS_LAST_BLOCKS = 3
_STEM_WEIGHT = 'backbone.stem.conv.weight'


@dataclass(frozen=True)
class Description:
    """A model's config.

    Attributes:
        config: as the checkpoint holds it, with the file's classes and anchors.
        file: that it comes from.
        variables: what gives ``file`` the model's size.
        changes: what else makes the model of ``file`` this one, its classes apart, by dotted key of the model.
        differences: what ``file``, given ``variables``, has otherwise; none if it describes the very same model.
        same_classes: whether the file's data have the same class names.
    """

    config: dict[str, Any]
    file: Path
    variables: dict[str, Any]
    changes: dict[str, Any]
    differences: tuple[str, ...]
    same_classes: bool


def convert_yolov5(source: str | Path, target: str | Path, configs: str | Path) -> list[str]:
    """Convert a file.

    Nothing in it is run, and the result depends on its content alone.

    Args:
        source: a ``.pt`` file of a detector of any size that YOLOv5, release 5.0 to 7.0, wrote.
        target: where the checkpoint goes, for ``predict``, ``test`` and ``load_from``.
        configs: detkit's folder of that name, whose configs for YOLOv5 are the models' descriptions.

    Returns:
        Lines for people: what was read and written, the config that fits, and how to go on.

    Raises:
        CheckpointError: the file is missing, damaged, or of another model; all parameters that are unknown, missing or
            of another shape are listed.
    """
    source, target = Path(source), Path(target)
    check_paths(source, target)
    with TorchArchive(source) as archive:
        found = read_yolov5(archive)
        file = Path(configs) / 'yolov5' / 'det_coco.py'
        scale = find_scale(found, size_table(file), source)
        description = describe_model(found, scale, file)
        with torch.device('meta'):  # no memory, no initial values: only names and shapes count
            model = DETECTORS.build(description.config['model'])
        names = match_names(found, model.state_dict(), source)
        state, precision = read_tensors(archive, found.tensors, names)
    if found.focus:
        state[_STEM_WEIGHT] = focus_to_conv(state[_STEM_WEIGHT])
    converted_from = {'file': source.name, 'project': 'yolov5', 'version': found.version, 'entry': found.entry}
    save_converted(target, state, description.config, f'configs/yolov5/{description.file.name}', converted_from)
    count = sum(param.numel() for param in model.parameters())
    return [
        f'read     {source}: YOLOv5{scale.letter or ""} detection, {shown_classes(found.classes)}, weights '
        f"'{found.entry}' in {precision} precision, by YOLOv5 {found.version}",
        f'wrote    {target}: {count:,} parameters',
        *_advice(description, target),
    ]


def focus_to_conv(weight: Tensor) -> Tensor:
    """A Focus layer's 3x3 kernel ``(N, 4 C, 3, 3)`` as that of a 6x6 convolution of stride 2 ``(N, C, 6, 6)``.

    Focus stacks the pixels of each 2x2 block as channels, column by column, and convolves those; one kernel on the
    pixels themselves, padded by 2, gives the same sums.
    """
    out_channels, _, height, width = weight.shape
    # (N, column, row, C, ky, kx) -> (N, C, ky, row, kx, column)
    blocks = weight.view(out_channels, 2, 2, -1, height, width).permute(0, 3, 4, 2, 5, 1)
    return blocks.reshape(out_channels, -1, 2 * height, 2 * width).contiguous()


def find_scale(found: YOLOv5Model, sizes: dict[str, tuple[float, ...]], source: Path) -> Scale:
    """The factors that give the file's channels and repeats; those of a size that has a letter, if one does.

    Args:
        sizes: of the family, by letter: deepen_factor, widen_factor.

    Raises:
        CheckpointError: no factors do.
    """
    stem = 'model.0.conv.conv.weight' if found.focus else 'model.0.conv.weight'
    blocks = [f'model.{layer}.m' for layer in (2, 4, 6, 9 if found.focus else 8)]
    widths, repeats = stage_shapes(
        found.tensors, [stem, *(f'model.{layer}.conv.weight' for layer in (1, 3, 5, 7))], blocks
    )
    known = [Scale(letter, deepen, widen, _MAX_CHANNELS) for letter, (deepen, widen) in sizes.items()]
    stage_blocks = (*_FOCUS_STAGE_BLOCKS[:-1], _FOCUS_LAST_BLOCKS) if found.focus else _STAGE_BLOCKS
    scale = fit_scale(widths, repeats, known, _STAGE_CHANNELS, stage_blocks, found.factors)
    if scale is None:
        raise CheckpointError(
            f'{source} is a YOLOv5 with {widths} channels and {repeats} repeats of its stages, which '
            'no depth and width factors give.'
        )
    return scale


def describe_model(found: YOLOv5Model, scale: Scale, file: Path) -> Description:
    """Return the config of the model's size, changed where the file's model differs."""
    variables = scale.variables('deepen_factor', 'widen_factor', 'max_channels')
    img_size = {'img_size': found.img_size} if found.img_size else {}
    config = load_config(file, {**variables, **img_size}).to_dict()
    classes, changes = tuple(config['classes']), model_changes(found, scale, config['model'])
    _apply(config['model'], changes)
    set_classes(config, found.classes)
    named = {
        'layers (those of release 5.0)': found.focus,
        'anchors': 'head.anchors' in changes,
        'normalisation': 'batch_norm' in changes,
        'classes': len(classes) != len(found.classes),
    }
    differences = tuple(name for name, differs in named.items() if differs)
    return Description(config, file, variables, changes, differences, classes == found.classes)


def model_changes(found: YOLOv5Model, scale: Scale, model: dict[str, Any]) -> dict[str, Any]:
    """What makes the model of a config the file's, by dotted key; nothing that is so already."""
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
    """With lists in place of tuples, to compare by."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def _whole(value: float) -> float | int:
    return int(value) if value == int(value) else value


def match_names(found: YOLOv5Model, expected: dict[str, Tensor], source: Path) -> dict[str, str]:
    """The file's name of each of detkit's parameters and buffers, in detkit's order.

    Raises:
        CheckpointError: some are unknown, missing or of another shape; it lists them all.
    """

    def shape_of(name: str) -> tuple[int, ...]:
        size = tuple(found.tensors[name].size)
        if found.focus and to_detkit(name, True) == _STEM_WEIGHT and len(size) == 4:
            return size[0], size[1] // 4, 2 * size[2], 2 * size[3]
        return size

    return match_tensors(
        found.tensors,
        expected,
        lambda name: to_detkit(name, found.focus),
        lambda name: to_yolov5(name, found.focus),
        f'{source} does not fit the YOLOv5 detection',
        shape_of,
    )


def _advice(description: Description, target: Path) -> list[str]:
    """Which config fits, how to predict, and how to go on."""
    shown, options = shown_path(description.file), shown_options(description.variables)
    tools = description.file.parents[2] / 'tools'
    predict, test, train = (shown_path(tools / f'{name}.py') for name in ('predict', 'test', 'train'))
    if description.differences:
        lines = [
            f"config   {shown}{options} with other {', '.join(description.differences)}; write '-' for it, as the "
            'checkpoint holds it',
            f'predict  python {predict} - {target} photo.jpg',
        ]
    else:
        lines = [
            f'config   {shown}{options}',
            f'predict  python {predict} {shown} {target} photo.jpg{options}',
        ]
        if description.same_classes:
            lines.append(f'test     python {test} {shown} {target}{options}')
    custom = description.file.with_name('det_custom.py')
    if custom.is_file():
        # The configs have no batch_norm, so that it is added.
        changes = {f'{"+" * (key == "batch_norm")}model.{key}': value for key, value in description.changes.items()}
        options = {'data_yaml': 'path/to/data.yaml', 'load_from': str(target), **description.variables, **changes}
        lines.append(f'train    python {train} {shown_path(custom)}{shown_options(options)}')
    return lines
