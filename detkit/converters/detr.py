"""``convert_detr``: a DETR of its authors, or of the Hugging Face Hub -> a detkit checkpoint."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from detkit.converters.common import (
    Conversion,
    Description,
    resolve_model,
    set_classes,
)
from detkit.converters.detr_file import DETR_KEYS, DETRFile, read_detr
from detkit.converters.file_checks import check_paths, match_tensors, names_the_file, stored_state
from detkit.converters.found_classes import find_classes
from detkit.converters.hub_input import input_options
from detkit.engine.run_folder import display_path
from detkit.utils.errors import CheckpointError

PROJECTS = {'original': 'DETR', 'hugging_face': 'transformers'}
# The least score that the projects show: of DETR's notebook, and of the default of transformers' post-processing.
_SCORE_THR = {'original': 0.7, 'hugging_face': 0.5}
_PANOPTIC_CLASSES = 250  # COCO's ids of things and stuff, as DETR counts them
# Blocks of each stage, and whether they have three convolutions.
_DEPTHS = {((2, 2, 2, 2), False): 18, ((3, 4, 6, 3), False): 34, ((3, 4, 6, 3), True): 50, ((3, 4, 23, 3), True): 101}
_HEAD_DIMS = 32  # channels of each head of an attention, in all published models


@dataclass(frozen=True)
class Architecture:
    """The sizes that distinguish one DETR from another, read off its weights and the files beside them.

    Those of ``transformer`` have the names of the config's keys.
    """

    depth: int
    dilated: bool
    masks: bool
    num_classes: int
    num_queries: int
    num_bbox_layers: int
    positions: str
    transformer: dict[str, int]

    def label(self) -> str:
        """Return the name for messages."""
        parts = f'ResNet-{self.depth}', '-DC5' if self.dilated else '', ' with masks' if self.masks else ''
        return f'DETR {"".join(parts)}'


def convert_detr(
    source: str | Path,
    target: str | Path,
    configs: str | Path,
    size: str | None = None,
    config: str | Path | None = None,
    names: str | Path | None = None,
) -> list[str]:
    """Convert a file; nothing in it is run.

    Args:
        source: a ``.pth`` of the authors, with or without masks, or of their training; or ``model.safetensors`` or
            ``pytorch_model.bin`` of the Hub, whose ``config.json`` beside it is read too.
        target: where the checkpoint goes, for ``predict``, ``test`` and ``load_from``.
        configs: detkit's folder of that name, whose configs for DETR describe the models.
        size: the ``size`` of detkit's configs, such as ``'r50_dc5'``. Needed for what weights do not show: a last stage
            that is dilated (DC5), where neither arguments in the file nor ``config.json`` nor the file's name say so.
        config: the config of the same model, instead of the one that fits the weights.
        names: the class names, one a line; needed where neither the file nor COCO says them.

    Returns:
        Lines for people: what was read and written, the config that fits, and how to go on.

    Raises:
        CheckpointError: a file is missing, damaged, or of another model; all parameters that are unknown, missing or of
            another shape are listed.
    """
    check_paths(Path(source), Path(target))
    return load_detr(source, configs, size, config, names).save(Path(target))


@names_the_file
def load_detr(
    source: str | Path,
    configs: str | Path,
    size: str | None = None,
    config: str | Path | None = None,
    names: str | Path | None = None,
) -> Conversion:
    """Return what ``convert_detr`` writes; arguments and errors are the same."""
    source, configs = Path(source), Path(configs)
    detr = read_detr(source)
    is_hub = detr.layout == 'hugging_face'
    if config is None:
        dilated, why = _find_dilation(detr, source) if size is None else (size.endswith('_dc5'), '--size says so')
        architecture = find_architecture(detr, source, dilated)
        if size not in (None, _size_of(architecture)):
            raise CheckpointError(f'{source} is of size {_size_of(architecture)}, not {size} (--size).')
        name, options = _config_of(architecture)
        options['predict_cfg.score_thr'] = _SCORE_THR[detr.layout]
        file = configs / 'detr' / name
        given, input_notes = input_options(source, file, options) if is_hub else ({}, [])
        options |= given
        resolved = _load(file, options)
    else:
        file = Path(config)
        options, input_notes = input_options(source, file, {}) if is_hub else ({}, [])
        resolved = _load(file, options)
        dilated, why = bool(resolved['model']['backbone'].get('dilate_last')), f'{display_path(file)} says so'
        architecture = find_architecture(detr, source, dilated)
    as_is, config_classes = copy.deepcopy(resolved['model']), tuple(resolved['classes'])
    if config is None:
        _set_model(resolved['model'], architecture)
    classes, by = find_classes(source, architecture.num_classes, config_classes, names, detr.classes, detr.said_by)
    set_classes(resolved, classes)
    as_is['head']['num_classes'] = len(classes)
    differences = ('sizes',) if resolved['model'] != as_is else ('classes',) if classes != config_classes else ()
    description = Description(resolved, file, options, differences)
    expected = description.model.state_dict()
    file_names = match_tensors(
        {name: tuple(tensor.shape) for name, tensor in detr.tensors.items()},
        expected,
        DETR_KEYS[detr.layout],
        f'{source} does not fit the {architecture.label()}',
    )
    state = stored_state({ours: detr.tensors[theirs] for ours, theirs in file_names.items()}, expected, source)
    custom = None if architecture.masks or 'sizes' in differences else 'det_custom.py'
    notes = [f'dilation {"yes" if dilated else "no"}: {why}', *input_notes]
    return description.finish(source, configs, state, PROJECTS[detr.layout], architecture.label(), by, notes, custom)


def find_architecture(detr: DETRFile, source: Path, dilated: bool) -> Architecture:
    """Read the sizes off the shapes.

    Raises:
        CheckpointError: the backbone is none of detkit's, or a part that every DETR has is missing.
    """
    keys = DETR_KEYS[detr.layout]
    tensors: dict[str, Tensor] = {}
    for name, tensor in detr.tensors.items():
        try:
            tensors[keys.to_detkit(name) or ''] = tensor
        except KeyError:
            continue  # reported with all others, once the model is known
    stages = tuple(_count(tensors, rf'backbone\.layer{stage}\.(\d+)\.') for stage in range(1, 5))
    depth = _DEPTHS.get((stages, 'backbone.layer1.0.conv3.weight' in tensors))
    if depth is None:
        raise CheckpointError(
            f'{source} has a backbone with {stages} blocks in its stages; detkit converts DETR on '
            f'ResNet-{", ".join(map(str, _DEPTHS.values()))}.'
        )
    prefix = 'head.transformer'
    needed = ('head.fc_cls.weight', 'head.query_embed.weight', f'{prefix}.decoder_layers.0.linear1.weight')
    for name in needed:
        if name not in tensors or tensors[name].ndim != 2:
            raise CheckpointError(f'{source} lacks {keys.to_theirs(name)}, which every DETR has; copy the file again.')
    logits, queries, feedforward = (len(tensors[name]) for name in needed)
    embed_dims = tensors['head.fc_cls.weight'].shape[1]
    learned = 'head.position_encoding.row_embed.weight' in tensors
    return Architecture(
        depth,
        dilated,
        any(name.startswith('head.mask_decoder.') for name in tensors),
        logits - 1,
        queries,
        _count(tensors, r'head\.bbox_mlp\.layers\.(\d+)\.'),
        'LearnedPositionEncoding' if learned else 'SinePositionEncoding',
        dict(
            embed_dims=embed_dims,
            num_heads=detr.num_heads or max(embed_dims // _HEAD_DIMS, 1),
            num_encoder_layers=_count(tensors, rf'{prefix}\.encoder_layers\.(\d+)\.'),
            num_decoder_layers=_count(tensors, rf'{prefix}\.decoder_layers\.(\d+)\.'),
            feedforward_dims=feedforward,
        ),
    )


def _count(names: Mapping[str, Tensor], pattern: str) -> int:
    """Count the different numbers that the pattern's group matches."""
    return len({match[1] for name in names if (match := re.match(pattern, name))})


def _find_dilation(detr: DETRFile, source: Path) -> tuple[bool, str]:
    """Return whether the last stage is dilated, and how that is known."""
    if detr.dilated is not None:
        return detr.dilated, f'{detr.said_by} says so'
    if 'dc5' in source.name.lower():
        return True, "the file's name has 'dc5'"
    return False, (
        "the file's name has no 'dc5', and weights do not show it; for a model that has it, give --size r50_dc5"
    )


def _size_of(architecture: Architecture) -> str:
    return f'r{architecture.depth}{"_dc5" if architecture.dilated else ""}'


def _config_of(architecture: Architecture) -> tuple[str, dict[str, Any]]:
    """Return the name of the config of an architecture, and the option that gives it the backbone."""
    panoptic = architecture.num_classes == _PANOPTIC_CLASSES
    size = _size_of(architecture)
    options = {'size': size} if size in ('r101', 'r50_dc5', 'r101_dc5') else {}  # others are set key by key
    if architecture.masks:
        return 'panoptic_coco.py' if panoptic else 'seg_coco.py', options
    return 'det_panoptic.py' if panoptic else 'det_coco.py', options


def _load(file: Path, options: dict[str, Any]) -> dict[str, Any]:
    return resolve_model(
        file, options, 'DETR', 'detr/det_coco.py', lambda head: str(head.get('type')).startswith('DETR')
    )


def _set_model(model: dict[str, Any], architecture: Architecture) -> None:
    """Change a config where the file's model differs."""
    model['backbone'].update(depth=architecture.depth)
    if architecture.dilated != model['backbone'].get('dilate_last', False):
        model['backbone'].update(dilate_last=architecture.dilated)
    head = model['head']
    head['num_queries'] = architecture.num_queries
    if architecture.num_bbox_layers != head.get('num_bbox_layers', 3):
        head['num_bbox_layers'] = architecture.num_bbox_layers
    if head['position_encoding']['type'] != architecture.positions:
        head['position_encoding'] = dict(type=architecture.positions)
    head['transformer'].update(architecture.transformer)
