"""``convert_rfdetr``: an RF-DETR of its authors, or of the Hugging Face Hub -> a detkit checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import Any

from torch import Tensor

from detkit.config.execute import execute
from detkit.converters.common import (
    Conversion,
    Description,
    resolve_model,
    set_classes,
)
from detkit.converters.detr_file import unpack
from detkit.converters.file_checks import check_paths, match_tensors, names_the_file, stored_state
from detkit.converters.found_classes import find_classes
from detkit.converters.hub_config import check_unseen, hub_config, what_lies_beside
from detkit.converters.inert_pickle import StandIn
from detkit.converters.rfdetr_layout import RFDETR_KEYS, bare_names, layout_of
from detkit.converters.weights_file import averaged_note, read_state
from detkit.utils.errors import CheckpointError

PROJECTS = {'original': 'RF-DETR', 'hugging_face': 'transformers'}
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
    if config is None:
        file = configs / 'rfdetr' / ('seg_coco.py' if architecture.masks else 'det_coco.py')
        size, num_queries = find_size(architecture, file, source)
        options = {'size': size, 'predict_cfg.score_thr': _SCORE_THR}
        if architecture.num_queries != num_queries:  # as in the published file of the size l with masks
            options['num_queries'] = architecture.num_queries
    else:
        file, options = Path(config), {}
    resolved = resolve_model(
        file, options, 'RF-DETR', 'rfdetr/det_coco.py', lambda head: str(head.get('type')).startswith('RFDETR')
    )
    config_classes, as_is = tuple(resolved['classes']), copy.deepcopy(resolved['model'])
    if config is None:
        resolved['model']['head']['num_groups'] = architecture.num_groups
    known = what_lies_beside(source) if layout == 'hugging_face' else _arguments(content.get('args'), source)
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
    if layout == 'hugging_face':
        check_unseen(hub_config(source), resolved['model'], source)
    notes = averaged_note(content)
    return description.finish(source, configs, state, PROJECTS[layout], architecture.label(), by, notes, custom)


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


def find_size(architecture: Architecture, file: Path, source: Path) -> tuple[str, int]:
    """Return the size of ``file`` that a model has, and the queries of that size, of which a model may have others.

    Weights do not show the number of windows, so that it must be one of the sizes.

    Raises:
        CheckpointError: the model has none of the sizes.
    """
    if not file.is_file():
        raise CheckpointError(f"{file} is missing, which describes the model; give the folder of detkit's configs.")
    values = execute(file, {}).values
    for size, (side, num_layers, num_queries, _) in values['sizes'].items():
        if (side, values['patch_size'], num_layers) == (
            architecture.patch_size * architecture.table_size,
            architecture.patch_size,
            architecture.num_layers,
        ):
            return size, num_queries
    raise CheckpointError(
        f'{source}: the {architecture.label()} with patches of {architecture.patch_size} pixels and '
        f'{architecture.num_layers} decoder layers has none of the sizes '
        f'{", ".join(values["sizes"])}; give a config of the same model with --config'
    )


def _count(names: Mapping[str, Tensor], prefix: str) -> int:
    """Count the different numbers that follow the prefix."""
    return len({name.removeprefix(prefix).split('.')[0] for name in names if name.startswith(prefix)})


def _arguments(args: Any, source: Path) -> dict[str, Any]:
    """Return the class names that the training arguments in a file have."""
    values = args.state if isinstance(args, StandIn) else args
    names = values.get('class_names') if isinstance(values, Mapping) else None
    if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
        return dict(classes=tuple(names), said_by=source.name)
    return {}
