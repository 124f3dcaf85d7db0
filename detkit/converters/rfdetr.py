"""``convert_rfdetr``: an RF-DETR of its authors, or of the Hugging Face Hub -> a detkit checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import Any

from torch import Tensor

from detkit.converters.common import (
    Conversion,
    Description,
    resolve_model,
    set_classes,
    variables_of,
)
from detkit.converters.detr_file import unpack
from detkit.converters.file_checks import check_paths, match_tensors, names_the_file, stored_state
from detkit.converters.found_classes import find_classes
from detkit.converters.hub_config import check_unseen, hub_config, positive_or_none, refuse_other, what_lies_beside
from detkit.converters.hub_input import input_options
from detkit.converters.inert_pickle import StandIn
from detkit.converters.rfdetr_layout import RFDETR_KEYS, bare_names, layout_of
from detkit.converters.weights_file import averaged_note, read_state
from detkit.utils.errors import CheckpointError

PROJECTS = {'original': 'RF-DETR', 'hugging_face': 'transformers'}
_HUB_SUFFIXES = ('.safetensors', '.bin')
_SCORE_THR = 0.5  # of both projects


@dataclass(frozen=True)
class Architecture:
    """The numbers that distinguish one RF-DETR from another, read off its weights.

    Attributes:
        masks: whether it has masks.
        patch_size: sides of a patch in pixels.
        table_size: rows and columns of the table of positions, in patches.
        num_layers: the decoder's.
        num_queries, num_groups: queries of a group, and groups.
        num_classes: logits of a query.
    """

    masks: bool
    patch_size: int
    table_size: int
    num_layers: int
    num_queries: int
    num_groups: int
    num_classes: int

    def label(self) -> str:
        """Return the name for messages."""
        side = self.patch_size * self.table_size
        return f'RF-DETR{" with masks" if self.masks else ""} for {side} x {side} pixels'


def convert_rfdetr(
    source: str | Path,
    target: str | Path,
    configs: str | Path,
    config: str | Path | None = None,
    names: str | Path | None = None,
) -> list[str]:
    """Convert a file; nothing in it is run.

    Args:
        source: a ``.pth`` of the authors' package, with or without masks, or ``model.safetensors`` or
            ``pytorch_model.bin`` of the Hub, whose ``config.json`` beside it is read too.
        target: where the checkpoint goes, for ``predict``, ``test`` and ``load_from``.
        configs: detkit's folder of that name, whose configs for RF-DETR describe the models.
        config: the config of the same model, instead of the one that fits the weights.
        names: the class names, one a line; needed where neither the file nor COCO says them.

    Returns:
        Lines for people: what was read and written, the config that fits, and how to go on.

    Raises:
        CheckpointError: a file is missing, damaged, or of another model; all parameters that are unknown, missing or of
            another shape are listed.
    """
    check_paths(Path(source), Path(target))
    return load_rfdetr(source, configs, config, names).save(Path(target))


@names_the_file
def load_rfdetr(
    source: str | Path, configs: str | Path, config: str | Path | None = None, names: str | Path | None = None
) -> Conversion:
    """Return what ``convert_rfdetr`` writes; arguments and errors are the same."""
    source, configs = Path(source), Path(configs)
    content, raw = read_state(source)
    layout = layout_of(raw)
    if layout is None:
        some = ', '.join(sorted(raw)[:3]) or 'none'
        raise CheckpointError(
            f'{source} is no RF-DETR: it has no learnt queries under a name of RF-DETR (its tensors are {some}, ...); '
            "give a published checkpoint (.pth), or the Hub's model.safetensors."
        )
    tensors = unpack(bare_names(raw))
    architecture = find_architecture(tensors, layout, source)
    is_hub = layout == 'hugging_face' or source.suffix in _HUB_SUFFIXES  # transformers writes the authors' names, too
    stated = _entries(hub_config(source).get('backbone_config')) if is_hub else _stated(content)
    if config is None:
        file = configs / 'rfdetr' / ('seg_coco.py' if architecture.masks else 'det_coco.py')
        options = find_size(architecture, file, source, stated.get('num_windows'))
        options['predict_cfg.score_thr'] = _SCORE_THR
        side = positive_or_none(stated.get('resolution'))
        if side not in (None, architecture.patch_size * architecture.table_size):
            options['img_size'] = side  # the table of positions is resized
    else:
        file, options = Path(config), {}
    given, input_notes = input_options(source, file, options) if is_hub else ({}, [])
    options |= given
    resolved = resolve_model(
        file, options, 'RF-DETR', 'rfdetr/det_coco.py', lambda head: str(head.get('type')).startswith('RFDETR')
    )
    config_classes, as_is = tuple(resolved['classes']), copy.deepcopy(resolved['model'])
    if config is None:
        resolved['model']['head']['num_groups'] = architecture.num_groups
    known = what_lies_beside(source) if is_hub else _class_names(content, source)
    classes, by = find_classes(
        source,
        architecture.num_classes,
        config_classes,
        names,
        known.get('classes'),
        known.get('said_by'),
        spare_logit=True,  # of the authors' models
    )
    set_classes(resolved, classes)
    as_is['head']['num_classes'] = len(classes)
    differences = ('sizes',) if resolved['model'] != as_is else ('classes',) if classes != config_classes else ()
    description = Description(resolved, file, options, differences)
    expected = description.model.state_dict()
    file_names = match_tensors(
        {name: tuple(tensor.shape) for name, tensor in tensors.items()},
        expected,
        RFDETR_KEYS[layout],
        f'{source} does not fit the {architecture.label()}',
    )
    state = stored_state({ours: tensors[theirs] for ours, theirs in file_names.items()}, expected, source)
    custom = None if 'sizes' in differences else f'{"seg" if architecture.masks else "det"}_custom.py'
    if is_hub:
        check_unseen(hub_config(source), resolved['model'], source)
    else:
        _check_stated(stated, resolved['model'], source)
    notes = [*averaged_note(content), *input_notes]
    project = PROJECTS['hugging_face' if is_hub else layout]
    return description.finish(source, configs, state, project, architecture.label(), by, notes, custom)


def find_architecture(tensors: Mapping[str, Tensor], layout: str, source: Path) -> Architecture:
    """Read the numbers off the shapes.

    Raises:
        CheckpointError: a part that every RF-DETR has is missing.
    """
    keys = RFDETR_KEYS[layout]
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        try:
            found[keys.to_detkit(name) or ''] = tensor
        except KeyError:
            continue  # reported with all others, once the model is known
    needed = {
        'backbone.embed.proj.weight': 4,
        'backbone.embed.positions': 3,
        'head.query_embed.weight': 2,
        'head.fc_cls.weight': 2,
    }
    for name, ndim in needed.items():
        if name not in found or found[name].ndim != ndim:
            raise CheckpointError(
                f'{source} lacks {keys.to_theirs(name)}, which every RF-DETR has; copy the file again.'
            )
    patches, positions, queries, logits = (found[name] for name in needed)
    groups = max(_count(found, 'head.selections.'), 1)
    return Architecture(
        any(name.startswith('head.mask_decoder.') for name in found),
        patches.shape[-1],
        isqrt(max(positions.shape[1] - 1, 0)),
        _count(found, 'head.decoder.layers.'),
        len(queries) // groups,
        groups,
        len(logits),
    )


def find_size(architecture: Architecture, file: Path, source: Path, num_windows: int | None = None) -> dict[str, Any]:
    """Return the options of ``file`` that give it a model: the size, and a side or queries that this does not have.

    Args:
        architecture: the model.
        file: a config with sizes.
        source: the file of weights, for errors.
        num_windows: windows along each side, which weights do not show; None where nothing says it.

    Raises:
        CheckpointError: there is no such size, or several, of which nothing says which one the model has.
    """
    values = variables_of(file, {})
    side = architecture.patch_size * architecture.table_size
    rows = {
        size: row
        for size, row in values['sizes'].items()
        if (architecture.patch_size, architecture.num_layers) == (values['patch_size'], row[1])
        and num_windows in (None, row[3])
    }
    same_side = {size: row for size, row in rows.items() if row[0] == side}
    if not same_side and len({row[3] for row in rows.values()}) != 1:
        raise CheckpointError(
            f'{source}: the {architecture.label()} with patches of {architecture.patch_size} pixels and '
            f'{architecture.num_layers} decoder layers has none of the sizes '
            f'{", ".join(values["sizes"])}; give a config of the same model with --config'
        )
    size, row = next(iter((same_side or rows).items()))
    own = dict(side=(side, row[0]), num_queries=(architecture.num_queries, row[2]))
    return {'size': size, **{name: found for name, (found, usual) in own.items() if found != usual}}


def _count(names: Mapping[str, Tensor], prefix: str) -> int:
    """Count the different numbers that follow the prefix."""
    return len({name.removeprefix(prefix).split('.')[0] for name in names if name.startswith(prefix)})


def _stated(content: Mapping[Any, Any]) -> dict[str, Any]:
    """Return what a file of the authors' package says of its model: in ``model_config``, or, of old ones, ``args``."""
    return {**_entries(content.get('args')), **_entries(content.get('model_config'))}


def _entries(part: Any) -> Mapping[Any, Any]:
    values = part.state if isinstance(part, StandIn) else part
    return values if isinstance(values, Mapping) else {}


def _check_stated(stated: Mapping[str, Any], model: Mapping[str, Any], source: Path) -> None:
    """Compare what a file of the authors' package says of its model, and weights do not show, with what they become.

    Raises:
        CheckpointError: a value is another one.
    """
    decoder = model['head']['decoder']
    expected = {
        'num_windows': model['backbone']['num_windows'],
        'sa_nheads': decoder['num_heads'],
        'ca_nheads': decoder['cross_heads'],
        'lite_refpoint_refine': True,
        'bbox_reparam': True,
    }
    for key, value in expected.items():
        if stated.get(key, value) != value:
            raise refuse_other(source, key, stated[key], value, source)


def _class_names(content: Mapping[Any, Any], source: Path) -> dict[str, Any]:
    """Return the class names that the training arguments in a file have."""
    names = _entries(content.get('args')).get('class_names')
    if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
        return dict(classes=tuple(names), said_by=source.name)
    return {}
