"""What a file with a DETR's weights says: its tensors, and what the files beside it say of the model."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detkit.converters.detr_keys import layout_of, unpack
from detkit.converters.inert_pickle import StandIn, TensorRef, TorchArchive
from detkit.converters.safetensors_file import is_safetensors, read_safetensors
from detkit.utils.errors import CheckpointError

_EXPECTED = (
    'give a published DETR checkpoint (.pth), or model.safetensors or pytorch_model.bin of the Hugging Face '
    'Hub with its config.json beside it'
)


@dataclass(frozen=True)
class DETRFile:
    """A DETR's weights and what is known of it.

    Attributes:
        layout: 'original' or 'hugging_face', see ``detr_keys``.
        tensors: by the file's names, packed projections unpacked.
        dilated: whether the backbone's last stage is dilated, None where that is not said; weights cannot tell.
        num_heads: of the attentions; None where that is not said.
        classes: names by label, None where they are not said.
        said_by: the file that says these, for people.
    """

    layout: str
    tensors: dict[str, Tensor]
    dilated: bool | None = None
    num_heads: int | None = None
    classes: tuple[str, ...] | None = None
    said_by: str | None = None


def read_detr(path: Path) -> DETRFile:
    """Reads a file; nothing in it is run.

    Raises:
        CheckpointError: the file is missing, damaged, or holds no DETR.
    """
    if not path.is_file():
        kind = 'is a folder' if path.is_dir() else 'does not exist'
        raise CheckpointError(f'{path} {kind}; {_EXPECTED}.')
    content = _read(path)
    if not isinstance(content, Mapping):
        raise CheckpointError(f'{path} holds no weights by name; {_EXPECTED}.')
    if isinstance(content.get('meta'), Mapping) and 'state_dict' in content:
        raise CheckpointError(
            f"{path} holds 'meta' and 'state_dict': it is a checkpoint of detkit or of another "
            f'toolbox on mmengine; {_EXPECTED}.'
        )
    weights = next((content[key] for key in ('model', 'state_dict') if isinstance(content.get(key), Mapping)), content)
    tensors = {str(name): value for name, value in weights.items() if isinstance(value, Tensor)}
    layout = layout_of(tensors)
    if layout is None:
        some = ', '.join(sorted(tensors)[:3]) or 'none'
        raise CheckpointError(
            f'{path} is no DETR: it has no layer for classes under a name of DETR (its tensors are '
            f'{some}, ...); {_EXPECTED}.'
        )
    known = _beside(path) if layout == 'hugging_face' else _arguments(content.get('args'), path)
    return DETRFile(layout, unpack(tensors), **known)


def _read(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        with TorchArchive(path) as archive:
            return _with_tensors(archive, archive.content)
    if is_safetensors(path):
        return read_safetensors(path)
    # As PyTorch before 1.6 wrote files, DETR's published ones among them. PyTorch reads those without running anything.
    try:
        return torch.load(path, map_location='cpu', weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError, OSError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(f'{path} cannot be read ({reason}); {_EXPECTED}, copied whole.') from error


def _with_tensors(archive: TorchArchive, content: Any) -> Any:
    """What a file holds, its tensors read; only dicts are looked into, as deep as weights may lie."""
    if not isinstance(content, dict):
        return content
    read: dict[Any, Any] = {}
    for key, value in content.items():
        if isinstance(value, TensorRef):
            read[key] = archive.read(value)
        elif isinstance(value, dict) and key in ('model', 'state_dict'):
            read[key] = {name: archive.read(ref) for name, ref in value.items() if isinstance(ref, TensorRef)}
        else:
            read[key] = value
    return read


def _arguments(args: Any, path: Path) -> dict[str, Any]:
    """What the arguments say that the original's own training keeps with the weights."""
    values = args.state if isinstance(args, StandIn) else None
    if not isinstance(values, dict):
        return {}
    return dict(dilated=_bool(values.get('dilation')), num_heads=_positive(values.get('nheads')), said_by=path.name)


def _beside(path: Path) -> dict[str, Any]:
    """What ``config.json`` says, which the Hub has beside the weights."""
    file = path.with_name('config.json')
    if not file.is_file():
        return {}
    try:
        values = json.loads(file.read_text(encoding='utf-8'))
        names = values.get('id2label') or {}
        classes = tuple(str(names[str(label)]) for label in range(len(names))) or None
    except (UnicodeDecodeError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(
            f'{file} is damaged ({type(error).__name__}: {error}); copy it again, or remove it to '
            'have the weights converted without what it says.'
        ) from error
    if classes is not None and all(name == f'LABEL_{label}' for label, name in enumerate(classes)):
        classes = None  # what stands there when nobody named them
    return dict(
        dilated=_bool(values.get('dilation')),
        num_heads=_positive(values.get('encoder_attention_heads')),
        classes=classes,
        said_by=file.name,
    )


def _bool(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _positive(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
