"""Pretrained weights of backbones: torchvision's by name, or those of a file."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from detkit.utils.download import DownloadError, download_once
from detkit.utils.errors import CheckpointError, ConfigError, nearest, shorten

_MAX_BYTES = 1_000_000_000


def find_weights(weights: str, choices: type[WeightsEnum]) -> WeightsEnum | Path:
    """Return torchvision's weights, or the path, that a config's ``weights`` names.

    Args:
        weights: one of ``choices`` by its name, such as ``'IMAGENET1K_V1'``, ``'DEFAULT'``, or in full as torchvision's
            documentation has it, ``'ResNet50_Weights.IMAGENET1K_V1'``; or the path of a file.
        choices: torchvision's weights of the architecture.

    Raises:
        ConfigError: it is neither one of the names nor looks like a path.
    """
    family, _, name = weights.rpartition('.')
    if family in ('', choices.__name__) and name in choices.__members__:
        return choices[name]
    if Path(weights).suffix in ('.pth', '.pt', '.bin', '.tar') or os.sep in weights:
        return Path(weights)
    raise ConfigError(
        f'weights is {weights!r}, which is neither a path (*.pth) nor one of {choices.__name__} of '
        f'torchvision: {", ".join(choices.__members__)}.{nearest(name, choices.__members__)}'
    )


def fetch_weights(weights: WeightsEnum) -> Path:
    """Return the file of torchvision's ``weights`` in the cache of ``torch.hub``, after a download if it is not there.

    Raises:
        CheckpointError: it is not there and cannot be downloaded.
    """
    # The name ends in the first digits of the checksum: resnet50-0676ba61.pth.
    path = Path(torch.hub.get_dir()) / 'checkpoints' / weights.url.rsplit('/', 1)[-1]
    try:
        download_once(weights.url, path, _MAX_BYTES, sha256=path.stem.rpartition('-')[2])
    except (DownloadError, OSError) as error:
        raise CheckpointError(
            f'The weights {weights} could not be downloaded from {weights.url} ({error}). Fetch that address on a '
            f'machine with a network and put the file at {path}, or give its path as model.backbone.weights; '
            'model.backbone.weights=None trains from random weights.'
        ) from error
    return path


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return a file's tensors by name: its state dict, bare or under ``state_dict`` or ``model``.

    Raises:
        CheckpointError: it is missing, or holds something else.
    """
    if not path.is_file():
        raise CheckpointError(
            f"The backbone's weights {path} do not exist; give the path of a file, a name of "
            "torchvision's weights, or None for random ones (model.backbone.weights)."
        )
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"The backbone's weights {path} cannot be read: the file is damaged, or holds more than "
            f'tensors and plain types ({type(error).__name__}).'
        ) from error
    for key in ('state_dict', 'model'):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"The backbone's weights {path} hold no tensors by name.")
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def load_backbone(backbone: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy ``tensors`` into ``backbone``.

    They may belong to a classifier, or to a whole detector whose names have a prefix such as ``backbone.``; tensors
    that the backbone does not have, such as those of a classifier's last layer, are left out.

    Raises:
        CheckpointError: a tensor of the backbone is missing or has another shape.
    """
    target = backbone.state_dict()
    first = next(iter(target))
    prefixes = {'', *(name.removesuffix(first) for name in tensors if name.endswith(first))}
    prefix = max(sorted(prefixes), key=lambda prefix: sum(prefix + name in tensors for name in target))
    tensors = {name: tensors[prefix + name] for name in target if prefix + name in tensors}
    # Counters of batches came after the first releases of torchvision's weights, and frozen normalisation has none.
    needed = {name: value for name, value in target.items() if not name.endswith('num_batches_tracked')}
    missing = [name for name in needed if name not in tensors]
    other = [name for name, value in needed.items() if name in tensors and tensors[name].shape != value.shape]
    for names, what in ((missing, 'lack'), (other, 'have another shape of')):
        if names:
            raise CheckpointError(
                f'The weights {source} {what} {len(names)} of the {len(needed)} tensors of '
                f'{type(backbone).__name__} ({shorten(names)}): they belong to a '
                'network of another kind or depth.'
            )
    backbone.load_state_dict({name: tensors.get(name, value) for name, value in target.items()})
