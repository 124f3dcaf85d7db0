"""``convert_yolox``: a ``.pth`` file of YOLOX -> a detkit checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from detkit.converters.common import (
    Conversion,
    Description,
    read_names,
    resolve_config,
    set_classes,
    shown_classes,
    sizes_of,
)
from detkit.converters.file_checks import check_paths, match_tensors, names_the_file, stored_state
from detkit.converters.weights_file import averaged_note, read_state
from detkit.converters.yolox_keys import STEM_WEIGHT, YOLOX_KEYS, is_darknet, stem_kernel
from detkit.datasets.class_names import COCO80
from detkit.models.layers import scale_channels
from detkit.utils.errors import CheckpointError, ConfigError

_DARKNET_SIZE = 'darknet53'
_STEM_CHANNELS = 64  # before the width factor
# The thresholds of the authors' demo.
_PREDICTION = {'predict_cfg.score_thr': 0.25, 'predict_cfg.iou_thr': 0.45}


def convert_yolox(
    source: str | Path,
    target: str | Path,
    configs: str | Path,
    config: str | Path | None = None,
    names: str | Path | None = None,
) -> list[str]:
    """Convert a file of a YOLOX; nothing in it is run.

    Args:
        source: a ``.pth`` of the authors, published in release 0.1.1rc0 or of their training.
        target: where the checkpoint goes, for ``predict``, ``test`` and ``load_from``.
        configs: detkit's folder of that name, whose configs describe the models.
        config: the config of the same model, instead of the one that fits the weights.
        names: the class names, one a line; needed where the model has not COCO's 80 classes.

    Returns:
        Lines for people: what was read and written, the config that fits, and how to go on.

    Raises:
        CheckpointError: a file is missing, damaged, or of another model; all parameters that are unknown, missing or of
            another shape are listed.
    """
    check_paths(Path(source), Path(target))
    return load_yolox(source, configs, config, names).save(Path(target))


@names_the_file
def load_yolox(
    source: str | Path, configs: str | Path, config: str | Path | None = None, names: str | Path | None = None
) -> Conversion:
    """Return what ``convert_yolox`` writes; arguments and errors are the same."""
    source, configs = Path(source), Path(configs)
    content, tensors = read_state(source)
    darknet = is_darknet(tensors)
    if darknet is None:
        some = ', '.join(sorted(tensors)[:3]) or 'none'
        raise CheckpointError(
            f'{source} is no YOLOX: it lacks a first convolution or a layer of objectness under its name (its tensors '
            f'are {some}, ...); give a .pth of the authors.'
        )
    keys = YOLOX_KEYS[darknet]
    stem = keys.to_theirs(STEM_WEIGHT)
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    if tensors[stem].ndim != 4 or shapes[stem][1] not in (3, 12):
        raise CheckpointError(
            f'{source} has a first convolution of the shape {shapes[stem]}; images of three channels are expected.'
        )
    shapes[stem] = tuple(stem_kernel(torch.empty(shapes[stem], device='meta')).shape)
    classes, by = _find_classes(shapes, source, names)
    file = configs / 'yolox' / 'det_coco.py' if config is None else Path(config)
    size = _find_size(shapes[stem][0], darknet, file, source) if config is None else None
    options = {} if size is None else {'size': size, **_PREDICTION}
    try:
        resolved = resolve_config(file, options)
    except ConfigError as error:
        raise CheckpointError(f'{file} cannot serve as a description of the model: {error}') from error
    if resolved.get('model', {}).get('head', {}).get('type') != 'YOLOXHead' or not resolved.get('classes'):
        raise CheckpointError(
            f'{file} describes no YOLOX with its classes; give one such as configs/yolox/det_coco.py.'
        )
    same_classes = classes == tuple(resolved['classes'])
    set_classes(resolved, classes)
    description = Description(resolved, file, options, () if same_classes else ('classes',), same_classes)
    model = description.model
    what = f'{source} does not fit the YOLOX {size or f"of {file.name}"}'
    found = match_tensors(shapes, model.state_dict(), keys, what)
    kernels = {**tensors, stem: stem_kernel(tensors[stem]).contiguous()}
    state = stored_state({ours: kernels[theirs] for ours, theirs in found.items()}, model.state_dict(), source)
    inside = file.resolve().is_relative_to(configs.resolve())
    return Conversion(
        state,
        resolved,
        f'configs/yolox/{file.name}' if inside else file.name,
        {'file': source.name, 'project': 'YOLOX'},
        report=(
            f'read     {source}: YOLOX{f" {size}" if size else ""}, {shown_classes(classes)}',
            f'classes  as {by} has them',
            *averaged_note(content),
        ),
        size=f'{sum(param.numel() for param in model.parameters()):,} parameters',
        advice=lambda target: description.advice(target, 'det_custom.py' if options else None),
    )


def _find_size(channels: int, darknet: bool, file: Path, source: Path) -> str:
    """Return the size of ``file`` whose first convolution has so many channels.

    Raises:
        CheckpointError: there is none.
    """
    if darknet:
        return _DARKNET_SIZE
    widths = {
        size: scale_channels(_STEM_CHANNELS, widen_factor)
        for size, (_, widen_factor, _) in sizes_of(file).items()
        if size != _DARKNET_SIZE
    }
    for size, width in widths.items():
        if width == channels:
            return size
    known = ', '.join(f'{size} ({width})' for size, width in widths.items())
    raise CheckpointError(
        f'{source}, YOLOX, has {channels} channels behind its first convolution, but the sizes have {known}; give the '
        'config of its model with --config.'
    )


def _find_classes(
    shapes: Mapping[str, tuple[int, ...]], source: Path, names: str | Path | None
) -> tuple[tuple[str, ...], str]:
    """Return the class names, and their source for the report.

    Raises:
        CheckpointError: the file lacks the layer of the classes, or the names are not as many as it has.
    """
    layer = 'head.cls_preds.0.weight'
    if layer not in shapes:
        raise CheckpointError(f'{source} lacks {layer}, which every YOLOX has; copy the file again.')
    count = shapes[layer][0]
    if names is None:
        if count != len(COCO80):
            raise CheckpointError(
                f'{source} has {count} classes without names, and COCO {len(COCO80)}; give the names with --names '
                'FILE, one a line.'
            )
        return COCO80, 'COCO'
    classes = read_names(Path(names))
    if len(classes) != count:
        raise CheckpointError(
            f'{source} has {count} classes, but {names} names {len(classes)}; give the names of all of them with '
            '--names FILE, one a line'
        )
    return classes, str(names)
