"""``read_state``: the weights by name in a file of another project, in any of the formats of PyTorch and the Hub."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from detkit.converters.common import renamed
from detkit.converters.inert_pickle import StandIn, TensorRef, TorchArchive
from detkit.utils.errors import CheckpointError, shorten
from detkit.utils.safetensors_file import is_safetensors, read_safetensors
from detkit.utils.torch_files import LOADING_ERRORS, is_plain_tensor, is_zip, load_plain

_EXPECTED = (
    'give a published checkpoint (.pth), or model.safetensors or pytorch_model.bin of the Hugging Face Hub with its '
    'config.json beside it'
)
# Entries that hold weights, and those with averaged ones.
_ENTRIES = ('model', 'state_dict', 'model_state_dict')
_AVERAGED = ('ema_model', 'model_ema', 'ema_state_dict')
_LIGHTNING = 'pytorch-lightning_version'  # the entry by which a file of Lightning is known


class NoDETRError(CheckpointError):
    """A file is no DETR, nor says that it should be one.

    Args:
        path: the file.
        found: a clause on what it is, for people who expect no DETR in it.
        detail: further words for people who do.
    """

    def __init__(self, path: Path, found: str, detail: str) -> None:
        super().__init__(f'{path} {detail}; {_EXPECTED}.')
        self.found = found


def read_state(path: Path) -> tuple[Mapping[Any, Any], dict[str, Tensor]]:
    """Return a file's content and its tensors by name; nothing in it is run.

    Raises:
        CheckpointError: the file is missing, damaged, or holds no weights by name, or other tensors than plain ones.
    """
    if not path.is_file():
        kind = 'is a folder' if path.is_dir() else 'does not exist'
        raise CheckpointError(f'{path} {kind}; {_EXPECTED}.')
    content = _read(path)
    if not isinstance(content, Mapping):
        raise _no_weights(path, content)
    if isinstance(content.get('meta'), Mapping) and 'state_dict' in content:
        raise CheckpointError(
            f"{path} holds 'meta' and 'state_dict': it is a checkpoint of detkit or of another "
            f'toolbox on mmengine; {_EXPECTED}.'
        )
    averaged = averaged_weights(content)
    weights = next(
        part for part in (averaged, *(content.get(name) for name in _ENTRIES), content) if isinstance(part, Mapping)
    )
    inner = weights is not content
    tensors = {name: value for name, value in weights.items() if isinstance(value, Tensor)}
    if not tensors:
        raise _no_weights(path, content if inner else weights)
    other = [name for name, value in tensors.items() if not is_plain_tensor(value)]
    other += [name for name, value in weights.items() if inner and isinstance(value, StandIn)]
    if other:
        raise CheckpointError(
            f'{path} holds tensors that are not dense and of real numbers, each stored on its own ({shorten(other)}); '
            'save them as plain tensors.'
        )
    return content, without_wrappers(renamed(tensors, str), is_module=_LIGHTNING in content)


def without_wrappers(tensors: Mapping[str, Tensor], is_module: bool = False) -> dict[str, Tensor]:
    """Return tensors by the names of the bare model.

    A model that is trained on several devices has all names behind ``module.``, and a compiled one, or a part of one,
    has ``_orig_mod.`` in front of its own.

    Args:
        tensors: by the names of a file.
        is_module: whether the model may be the attribute ``model`` of a module of Lightning.

    Raises:
        CheckpointError: two tensors that differ get one name.
    """
    bare = renamed(tensors, lambda name: name.replace('_orig_mod.', ''))
    for prefix in ('module.', *(['model.'] if is_module else [])):
        if bare and all(name.startswith(prefix) for name in bare):
            bare = renamed(bare, lambda name, prefix=prefix: name.removeprefix(prefix))
    return bare


def _no_weights(path: Path, content: Any) -> NoDETRError:
    values = content.values() if isinstance(content, Mapping) else [content]
    whole = next((value.path for value in values if isinstance(value, StandIn)), None)
    found = 'holds no weights by name' + ('' if whole is None else f', but an object of {whole}')
    if whole is None and isinstance(content, Mapping) and content:
        found += f' under {" or ".join(_ENTRIES)} (its entries are {shorten(content)})'
    return NoDETRError(path, found, found)


def averaged_weights(content: Mapping[Any, Any]) -> Mapping[Any, Any] | None:
    """Return the averaged weights that training keeps beside the others; None where there are none.

    They are ``ema.module`` of the authors of RT-DETR and D-FINE, ``ema_model`` of RF-DETR's; others write the rest.
    """
    ema = content.get('ema')
    found = (ema.get('module') if isinstance(ema, Mapping) else None, *(content.get(name) for name in _AVERAGED), ema)
    return next((part for part in found if isinstance(part, Mapping) and _holds_tensors(part)), None)


def averaged_note(content: Mapping[Any, Any]) -> list[str]:
    """Return a line for people where the weights of ``read_state`` are averaged ones."""
    return [] if averaged_weights(content) is None else ['weights  the averaged ones of training (ema)']


def _holds_tensors(part: Mapping[Any, Any]) -> bool:
    return any(isinstance(value, Tensor) for value in part.values())


def _read(path: Path) -> Any:
    if is_zip(path):
        with TorchArchive(path) as archive:
            return _with_tensors(archive, archive.content)
    if is_safetensors(path):
        return read_safetensors(path)
    # PyTorch before 1.6 wrote such files, DETR's published ones among them; it reads them without running anything.
    try:
        return load_plain(path)
    except (pickle.UnpicklingError, *LOADING_ERRORS) as error:
        # PyTorch's own words advise to load the file with what it may run.
        found = f'cannot be read ({path.stat().st_size:,} bytes): it is damaged or cut off, or no file of weights'
        raise NoDETRError(path, found, found) from error


def _with_tensors(archive: TorchArchive, content: Any, levels: int = 2) -> Any:
    """Read the tensors of a file's content, in its top level and in the dicts that hold weights.

    Args:
        archive: the open file.
        content: what it holds.
        levels: of dicts in dicts; ``ema.module`` is the second. A forged dict may hold itself.
    """
    if not isinstance(content, dict):
        return content
    read: dict[Any, Any] = {}
    for key, value in content.items():
        if isinstance(value, TensorRef):
            read[key] = archive.read(value, key)
        elif levels and isinstance(value, dict) and key in ('module', 'ema', *_ENTRIES, *_AVERAGED):
            read[key] = _with_tensors(archive, value, levels - 1)
        else:
            read[key] = value
    return read
