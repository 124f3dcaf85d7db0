"""``convert_deimv2``: a DEIMv2 of its authors, or of the Hugging Face Hub -> a detkit checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detkit.config.execute import execute
from detkit.converters.common import (
    Conversion,
    Description,
    resolve_model,
    set_classes,
)
from detkit.converters.deim_layout import AUTHORS_KEYS, HUB_KEYS, layout_of, unpack
from detkit.converters.file_checks import check_paths, match_tensors, names_the_file, stored_state
from detkit.converters.found_classes import find_classes
from detkit.converters.hub_config import check_unseen, hub_config, what_lies_beside
from detkit.converters.hub_input import input_options
from detkit.converters.weights_file import averaged_note, read_state
from detkit.utils.errors import CheckpointError, ConfigError
from detkit.utils.json_files import read_json

_PROJECTS = {'original': 'DEIMv2', 'hugging_face': 'transformers'}
_KEYS = {'original': AUTHORS_KEYS, 'hugging_face': HUB_KEYS}
_CLASSES = {'original': 'decoder.enc_score_head.weight', 'hugging_face': 'model.enc_score_head.weight'}
_SELECTION = 'model.enc_output.'  # what the library has before the selection of queries, and the authors have not
_COUNTER = '.num_batches_tracked'  # that training keeps and nothing reads
_SCORE_THR = 0.4
_EXAMPLE = 'deimv2/det_coco.py'


def convert_deimv2(
    source: str | Path,
    target: str | Path,
    configs: str | Path,
    config: str | Path | None = None,
    names: str | Path | None = None,
) -> list[str]:
    """Convert a file; nothing in it is run.

    Args:
        source: a ``.pth`` or ``model.safetensors`` of the authors, or ``model.safetensors`` or ``pytorch_model.bin`` of
            transformers, whose ``config.json`` beside it is read too.
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
    check_paths(Path(source), Path(target))
    return load_deimv2(source, configs, config, names).save(Path(target))


@names_the_file
def load_deimv2(
    source: str | Path, configs: str | Path, config: str | Path | None = None, names: str | Path | None = None
) -> Conversion:
    """Return what ``convert_deimv2`` writes; arguments and errors are the same."""
    source, configs = Path(source), Path(configs)
    content, raw = read_state(source)
    layout = layout_of(raw)
    if layout is None or raw.get(_CLASSES[layout], torch.zeros(0)).ndim != 2:
        some = ', '.join(sorted(raw)[:3]) or 'none'
        raise CheckpointError(
            f'{source} is no DEIMv2 with HGNetV2: its tensors have no names of DEIMv2 (they are {some}, ...); '
            "give a published checkpoint of Atto, Femto, Pico or N (.pth), or the Hub's model.safetensors."
        )
    num_classes, dims = raw[_CLASSES[layout]].shape
    file = configs / _EXAMPLE if config is None else Path(config)
    options = {'predict_cfg.score_thr': _SCORE_THR}
    if config is None:
        options['size'] = _find_size(dims, file, source)
    given, input_notes = input_options(source, file, options) if layout == 'hugging_face' else ({}, [])
    options |= given
    resolved = resolve_model(file, options, 'DEIMv2', _EXAMPLE, lambda head: head.get('type') == 'DFINEHead')
    config_classes, as_is = tuple(resolved['classes']), copy.deepcopy(resolved['model'])
    tensors, notes = raw, ()
    if layout == 'hugging_face':
        tensors, notes = _as_published(raw, resolved['model']['head'], source)
    notes = (*averaged_note(content), *input_notes, *notes)
    known = what_lies_beside(source) if layout == 'hugging_face' else {}
    classes, by = find_classes(source, num_classes, config_classes, names, known.get('classes'), known.get('said_by'))
    set_classes(resolved, classes)
    as_is['head']['num_classes'] = len(classes)
    differences = ('layers',) if resolved['model'] != as_is else ('classes',) if classes != config_classes else ()
    description = Description(resolved, file, options, differences)
    expected = description.model.state_dict()
    unpacked = {name: tensor for name, tensor in unpack(tensors, layout).items() if not name.endswith(_COUNTER)}
    what = f'DEIMv2 of {dims} channels'
    file_names = match_tensors(
        {name: tuple(tensor.shape) for name, tensor in unpacked.items()},
        {name: tensor for name, tensor in expected.items() if not name.endswith(_COUNTER)},
        _KEYS[layout],
        f'{source} does not fit the {what}',
    )
    counters = {
        ours: torch.zeros_like(tensor, device='cpu') for ours, tensor in expected.items() if ours not in file_names
    }
    weights = {ours: unpacked[theirs] for ours, theirs in file_names.items()}
    state = stored_state({**counters, **weights}, expected, source)
    if layout == 'hugging_face':
        check_unseen(hub_config(source), resolved['model'], source)
    custom = None if 'layers' in differences else 'det_custom.py'
    return description.finish(source, configs, state, _PROJECTS[layout], what, by, notes, custom)


def _find_size(dims: int, file: Path, source: Path) -> str:
    """Return the size whose maps have ``dims`` channels."""
    try:
        sizes: Mapping[str, Any] = execute(file, {}).values['sizes']
    except (ConfigError, KeyError) as error:
        raise CheckpointError(f"{file} has no table of sizes; give the folder of detkit's configs.") from error
    widths = {name: row[3] for name, row in sizes.items()}
    for name, width in widths.items():
        if width == dims:
            return name
    known = ', '.join(f'{name} {width}' for name, width in widths.items())
    raise CheckpointError(f'{source} has maps of {dims} channels, which no size has ({known}); give --config.')


def _as_published(raw: dict[str, Tensor], head: dict[str, Any], source: Path) -> tuple[dict[str, Tensor], tuple]:
    """Return the tensors of a file of the Hub without the layers that the library adds, where these do nothing.

    The library has a linear layer and a normalisation before the selection of queries; in files made of the authors'
    they hold an identity. Where they were trained, ``head`` is given the library's graph.

    Returns:
        The tensors, and lines on what was left out.
    """
    weight, bias = raw.get(f'{_SELECTION}0.weight'), raw.get(f'{_SELECTION}0.bias')
    if weight is None or bias is None:
        return raw, ()
    file = source.with_name('config.json')
    values = read_json(file, 'file') if file.is_file() else {}
    if weight.ndim == 2 and torch.equal(weight, torch.eye(len(weight), dtype=weight.dtype)) and not bias.any():
        kept = {name: tensor for name, tensor in raw.items() if not name.startswith(_SELECTION)}
        return kept, ('note     the layer that transformers puts before the selection is left out; DEIMv2 has none',)
    act = values.get('decoder_activation_function', 'relu') if isinstance(values, dict) else 'relu'
    if act != 'relu':
        raise CheckpointError(
            f'{source} was trained with {act} in the MLP of positions and ReLU in the MLPs of boxes; detkit has one '
            'activation for all MLPs of a decoder. Convert a file with ReLU in all of them, or one made of published '
            'weights.'
        )
    head.update(project_cells=True, act='ReLU')
    head['decoder'].update(act='ReLU', fixed_positions=False)
    return raw, ()
