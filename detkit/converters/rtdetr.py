"""``convert_rtdetr``, ``convert_dfine``, ``convert_deim``: a file of the authors or of the Hub -> a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detkit.converters.common import (
    Conversion,
    Description,
    KeyTable,
    resolve_model,
    set_classes,
    sizes_of,
)
from detkit.converters.file_checks import check_paths, match_tensors, names_the_file, stored_state
from detkit.converters.found_classes import find_classes
from detkit.converters.hub_config import check_unseen, hub_classes, hub_config
from detkit.converters.hub_input import input_options
from detkit.converters.rtdetr_families import DEIM, DFINE, FAMILIES, RTDETR, Family, has_more_positions
from detkit.converters.rtdetr_keys import DFINE_KEYS, RTDETR_KEYS, bare_names, layout_of
from detkit.converters.weights_file import averaged_note, read_state
from detkit.datasets.class_names import COCO80
from detkit.utils.errors import CheckpointError

_COUNTER = '.num_batches_tracked'  # that training keeps and nothing reads
_HUB_SCORE_THR = 0.5
# A model that differs from all sizes by more parameters is another one, whose parameters need not be listed.
_MOST_LISTED = 60


def convert_rtdetr(
    source: str | Path,
    target: str | Path,
    configs: str | Path,
    config: str | Path | None = None,
    names: str | Path | None = None,
) -> list[str]:
    """Convert a file of an RT-DETR, version 1 or 2; nothing in it is run.

    Args:
        source: a ``.pth`` of the authors, published or of their training, or ``model.safetensors`` or
            ``pytorch_model.bin`` of the Hub, whose ``config.json`` beside it is read too.
        target: where the checkpoint goes, for ``predict``, ``test`` and ``load_from``.
        configs: detkit's folder of that name, whose configs describe the models.
        config: the config of the same model, instead of the one that fits the weights.
        names: the class names, one a line; needed where neither the file nor COCO says them.

    Returns:
        Lines for people: what was read and written, the config that fits, and how to go on.

    Raises:
        CheckpointError: a file is missing, damaged, or of another model; all parameters that are unknown, missing or of
            another shape are listed.
    """
    return _convert(RTDETR, source, target, configs, config, names)


def convert_dfine(
    source: str | Path,
    target: str | Path,
    configs: str | Path,
    config: str | Path | None = None,
    names: str | Path | None = None,
) -> list[str]:
    """Convert a file of a D-FINE; arguments, result and errors are those of ``convert_rtdetr``."""
    return _convert(DFINE, source, target, configs, config, names)


def convert_deim(
    source: str | Path,
    target: str | Path,
    configs: str | Path,
    config: str | Path | None = None,
    names: str | Path | None = None,
) -> list[str]:
    """Convert a file of a DEIM on D-FINE or RT-DETRv2; arguments, result and errors are ``convert_rtdetr``'s."""
    return _convert(DEIM, source, target, configs, config, names)


def _convert(
    family: Family,
    source: str | Path,
    target: str | Path,
    configs: str | Path,
    config: str | Path | None,
    names: str | Path | None,
) -> list[str]:
    check_paths(Path(source), Path(target))
    return load_family(source, family, configs, config, names).save(Path(target))


@dataclass(frozen=True)
class _File:
    """The content of a file: its layout, its tensors by the names of that layout, and the values of ``config.json``.

    Attributes:
        network: 'rtdetr', 'rtdetrv2' or 'dfine'.
        averaged: a line for people where the tensors are averages that training kept beside the others.
        values: ``config.json`` of the Hub.
    """

    path: Path
    layout: str
    keys: KeyTable
    tensors: dict[str, Tensor]
    network: str
    averaged: list[str]
    values: dict[str, Any]

    def find(self, ours: str) -> Tensor | None:
        """Return a tensor by detkit's name."""
        return self.tensors.get(self.keys.to_theirs(ours))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(value.shape) for name, value in self.tensors.items() if not name.endswith(_COUNTER)}

    @cached_property
    def renamed(self) -> tuple[dict[str, tuple[int, ...]], int]:
        """The shapes by detkit's names, and how many tensors have none."""
        shapes, unknown = {}, 0
        for name, shape in self.shapes().items():
            try:
                ours = self.keys.to_detkit(name)
            except KeyError:
                unknown += 1
                continue
            if ours is not None:
                shapes[ours] = shape
        return shapes, unknown


@names_the_file
def load_family(
    source: str | Path,
    family: Family,
    configs: str | Path,
    config: str | Path | None = None,
    names: str | Path | None = None,
) -> Conversion:
    """Return what ``convert_rtdetr`` writes for a model of the family; arguments and errors are the same."""
    source, configs = Path(source), Path(configs)
    found = _read(family, source)
    logits = found.find('head.selection.fc_cls.weight')
    count = 0 if logits is None else len(logits)
    classes, by = find_classes(source, count, COCO80, names, hub_classes(found.values, source), 'config.json')
    file = configs / family.key / family.files[found.network] if config is None else Path(config)
    given, notes = input_options(source, file, {}) if found.layout == 'hugging_face' else ({}, [])
    described = tuple(_descriptions(family, found, file, given, config is None, classes))
    distance, description, shapes = min(described, key=lambda row: row[0])
    size = description.options.get('size')
    what = f'{source} does not fit the {family.name} of {description.file.name}'
    if size is not None:
        sizes = ', '.join(other.options['size'] for _, other, _ in described)
        if distance > _MOST_LISTED:
            raise CheckpointError(
                f'{source}, {family.name}, has none of the sizes {sizes}; give the config of its model with --config.'
            )
        what = f'{source} has none of the sizes {sizes}. It does not fit {size}, the nearest,'
    state = _state(found, shapes, what)
    check_unseen(found.values, description.config['model'], source)
    project = 'transformers' if found.layout == 'hugging_face' else family.name
    label = f'{family.name}v2' if (family, found.network) == (RTDETR, 'rtdetrv2') else family.name
    notes = [*found.averaged, *notes, *_doubts(family, found, shapes)]
    return description.finish(
        source,
        configs,
        state,
        project,
        label if size is None else f'{label} {size}',
        by,
        notes,
        custom='det_custom.py' if config is None else None,
    )


def _doubts(family: Family, found: _File, state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return a line on the families whose files have the same parameters; none where the file says its own.

    Args:
        state: that of the described model. A layer of frozen normalisation has no counter, a trained one has.
    """
    if found.network != 'dfine' or found.values.get('model_type') is not None:
        return ()
    trained = any('backbone' in name and name.endswith(_COUNTER) for name in found.tensors)
    frozen = not any(name.startswith('backbone.') and name.endswith(_COUNTER) for name in state)
    sign = f'; this backbone was trained with a normalisation that {family.name} has frozen'
    return tuple(
        f'note     files of {other.name} have the same tensors, and their decoder another activation ({other.act} in '
        f'place of {family.act}), which no weights show: convert those by `detkit convert {other.key}`'
        f'{sign if trained and frozen else ""}'
        for other in FAMILIES.values()
        if other is not family and found.network in other.files
    )


def family_of(tensors: Mapping[str, Tensor], source: Path) -> Family | None:
    """Return the family of a file's tensors, as ``config.json`` beside it or else their names say; None for none."""
    found = layout_of(bare_names(tensors))
    if found is None:
        return None
    network, layout = found
    kind = hub_config(source).get('model_type') if layout == 'hugging_face' else None
    if network == 'rtdetr' and has_more_positions(tensors):
        return DEIM
    families = [family for family in FAMILIES.values() if network in family.files]
    return next((family for family in families if kind in family.model_types), families[0])


def _read(family: Family, source: Path) -> _File:
    """Read a file.

    Raises:
        CheckpointError: it is missing, damaged, or of another family.
    """
    content, raw = read_state(source)
    tensors = bare_names(raw)
    found = layout_of(tensors)
    if found is None:
        some = ', '.join(sorted(raw)[:3]) or 'none'
        raise CheckpointError(
            f'{source} is no {family.name}: it has no selection of queries under a name of {family.name} (its tensors '
            f"are {some}, ...); give a checkpoint of the authors (.pth), or the Hub's model.safetensors."
        )
    network, layout = found
    deim = network == 'rtdetr' and has_more_positions(tensors)
    if network == 'rtdetr' and layout == 'original' and deim != (family is DEIM) and family is not DFINE:
        other = DEIM if deim else RTDETR
        raise CheckpointError(
            f'{source} is no {family.name}: its MLP of positions has {"three layers" if deim else "two layers"}, as '
            f"{other.name}'s; convert it by `detkit convert {other.key}`."
        )
    values = hub_config(source) if layout == 'hugging_face' else {}
    second = layout == 'original' or any(name.endswith('.n_points_scale') for name in tensors)
    version = f'{network}v2' if network == 'rtdetr' and second else network
    kind = values.get('model_type')
    if version not in family.files or (kind is not None and family.model_types and kind not in family.model_types):
        by_kind = [other for other in FAMILIES.values() if kind in other.model_types]
        by_names = [other for other in FAMILIES.values() if kind is None and version in other.files]
        known = next(iter((*by_kind, *by_names)), None)
        said = f'config.json beside it says {kind!r}' if kind else f'its parameters are those of {known.name}'
        remedy = 'it cannot be converted' if known in (None, family) else f'convert it by `detkit convert {known.key}`'
        raise CheckpointError(f'{source} is no {family.name}: {said}; {remedy}.')
    if network == 'dfine':
        levels = sum(
            name.startswith(('encoder.input_proj.', 'model.encoder_input_proj.')) for name in _weights(tensors)
        )
        keys = DFINE_KEYS[2 if levels == 2 else 3][layout]
    else:
        keys = RTDETR_KEYS[layout]
    return _File(source, layout, keys, tensors, version, averaged_note(content), values)


def _weights(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the weights of convolutions."""
    return [name for name, value in tensors.items() if value.ndim == 4]


def _descriptions(
    family: Family, found: _File, file: Path, given: Mapping[str, Any], has_sizes: bool, classes: tuple[str, ...]
) -> Iterator[tuple[int, Description, dict[str, Tensor]]]:
    """Yield descriptions until one fits, of the sizes of a config or of the config alone.

    Each has its distance from the file before it, and its model's state dict, without values, behind it.

    Args:
        family, found: what is described.
        file: the config.
        given: options for all sizes.
        has_sizes: whether ``file`` is one of the family's own, whose sizes are tried.
        classes: the names of the classes.

    Raises:
        CheckpointError: a config is missing, or describes no such model.
    """
    if has_sizes:
        threshold = _HUB_SCORE_THR if found.layout == 'hugging_face' else family.score_thr
        sizes = [{'size': size, 'predict_cfg.score_thr': threshold, **given} for size in sizes_of(file)]
    else:
        sizes = [dict(given)]
    described = family.name, f'{family.key}/{family.files[found.network]}'
    for options in sizes:
        resolved = resolve_model(file, options, *described, _has_decoder)
        added = _options(found, resolved['model']['head']) if has_sizes else {}
        if added:
            options |= added
            resolved = resolve_model(file, options, *described, _has_decoder)
        differences = ('classes',) if classes != tuple(resolved['classes']) else ()
        set_classes(resolved, classes)
        description = Description(resolved, file, options, differences)
        state = description.model.state_dict()
        distance = _distance(found, state)
        yield distance, description, state
        if distance == 0:
            return


def _has_decoder(head: Mapping[str, Any]) -> bool:
    return isinstance(head.get('decoder'), dict)


def _options(found: _File, head: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options by which a model of a size differs from its config: points, denoising, queries, sampling."""
    options: dict[str, Any] = {}
    scale = found.tensors.get(_first(found.tensors, ('.num_points_scale', '.n_points_scale')))
    points = None if scale is None else _points(scale)
    configured = head['decoder']['num_points']
    if points is not None and points != (configured if isinstance(configured, tuple) else (configured,) * len(points)):
        options['model.head.decoder.num_points'] = points[0] if len(set(points)) == 1 else points
    if found.find('head.denoising.class_embed.weight') is None:
        options['model.head.num_denoising'] = 0
    queries = found.values.get('num_queries')
    if isinstance(queries, int) and queries > 0 and queries != head['num_queries']:
        options['model.head.num_queries'] = queries
    if found.values.get('decoder_method') == 'discrete':
        options['model.head.decoder.discrete'] = True
    return options


def _first(names: Mapping[str, Tensor], ends: tuple[str, ...]) -> str:
    return next((name for name in names if name.endswith(ends)), '')


def _points(scale: Tensor) -> tuple[int, ...] | None:
    """Return the points in each map, of whose number the reciprocal is there once a point; None for anything else."""
    rest, points = scale.flatten().tolist(), []
    while rest:
        count = round(1 / rest[0]) if rest[0] > 0 else 0
        if count < 1 or len(rest) < count:
            return None
        points.append(count)
        rest = rest[count:]
    return tuple(points)


def _distance(found: _File, state: Mapping[str, Tensor]) -> int:
    """Return how many parameters of a file and a model do not match."""
    theirs, unknown = found.renamed
    expected = {name: tuple(value.shape) for name, value in state.items() if not name.endswith(_COUNTER)}
    return unknown + len(theirs.items() ^ expected.items())


def _state(found: _File, expected: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """Return the tensors under detkit's names; counters that the file lacks are 0."""
    names = match_tensors(
        found.shapes(),
        {name: value for name, value in expected.items() if not name.endswith(_COUNTER)},
        found.keys,
        what,
    )
    tensors: dict[str, Tensor] = {}
    for ours in expected:
        tensor = found.find(ours) if ours.endswith(_COUNTER) else found.tensors[names[ours]]
        tensors[ours] = torch.zeros((), dtype=torch.int64) if tensor is None else tensor
    return stored_state(tensors, expected, found.path)
