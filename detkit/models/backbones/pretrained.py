"""Pretrained weights of backbones: torchvision's by name, or those of a file."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from detkit.registry import WEIGHTS_BY_NAME
from detkit.utils.download import DownloadError, download_once
from detkit.utils.errors import CheckpointError, ConfigError, nearest, shorten
from detkit.utils.torch_files import LOADING_ERRORS, is_plain_tensor, is_zip, load_plain, open_stored

_MAX_BYTES = 1_000_000_000
# SHA-256 of torchvision's files, whose names hold its first digits. Of a file that is not here, those alone count.
_SHA256 = {
    digest[:8]: digest
    for digest in (
        'f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec',  # ResNet-18
        'b627a593bcbe140c234610266fe4f8ae95ea42fc881d091c9b6052e6b1d0590f',  # ResNet-34
        '0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a',  # ResNet-50, V1
        '11ad3fa62ca79e40addfd354a8ec4b7c75143b3038b8d2a807fbc68deab379ca',  # ResNet-50, V2
        '63fe2227b86e8f1f2063f43a75c84d195911b6a0eace650907dd3dc62dd49a0a',  # ResNet-101, V1
        'cd907fc2a0de2292b2ba2b27d2216bc672d84632d1cf20058d01c0c03b5e020e',  # ResNet-101, V2
        '394f9c45966e3651a89bbb78a48410a6755854ce4a5ab64927cf1c7247f85e58',  # ResNet-152, V1
    )
}


# torchvision's weights of architectures trained on ImageNet, under the names of its documentation. The package has them
# too, but its import takes as long as PyTorch's, and 150 MiB.
_ADDRESS = 'https://download.pytorch.org/models/'
_FILES = {
    'ResNet18_Weights': {'IMAGENET1K_V1': 'resnet18-f37072fd.pth'},
    'ResNet34_Weights': {'IMAGENET1K_V1': 'resnet34-b627a593.pth'},
    'ResNet50_Weights': {'IMAGENET1K_V1': 'resnet50-0676ba61.pth', 'IMAGENET1K_V2': 'resnet50-11ad3fa6.pth'},
    'ResNet101_Weights': {'IMAGENET1K_V1': 'resnet101-63fe2227.pth', 'IMAGENET1K_V2': 'resnet101-cd907fc2.pth'},
    'MobileNet_V3_Large_Weights': {
        'IMAGENET1K_V1': 'mobilenet_v3_large-8738ca79.pth',
        'IMAGENET1K_V2': 'mobilenet_v3_large-5c1a4163.pth',
    },
}


class NamedWeights(NamedTuple):
    """Weights of torchvision.

    Attributes:
        name: in full, as in torchvision's documentation.
        url: where they are.
    """

    name: str
    url: str

    def __str__(self) -> str:
        return self.name


def find_weights(weights: str, family: str) -> NamedWeights | Path:
    """Return torchvision's weights, or the path, that a config's ``weights`` names.

    Args:
        weights: one of ``family`` by its name, such as ``'IMAGENET1K_V1'``, ``'DEFAULT'`` for the newest, or in full as
            torchvision's documentation has it, ``'ResNet50_Weights.IMAGENET1K_V1'``; or the path of a file; or a name
            of the zoo.
        family: torchvision's name for the weights of the architecture, such as ``'ResNet50_Weights'``.

    Raises:
        ConfigError: it is neither one of the names nor looks like a path.
    """
    files = _FILES[family]
    names = (*files, 'DEFAULT')
    given, _, name = weights.rpartition('.')
    if given in ('', family) and name in names:
        name = list(files)[-1] if name == 'DEFAULT' else name
        return NamedWeights(f'{family}.{name}', _ADDRESS + files[name])
    if Path(weights).suffix in ('.pth', '.pt', '.bin', '.tar') or os.sep in weights:
        return Path(weights)
    if WEIGHTS_BY_NAME.get('is_name')(weights):
        return Path(weights)
    raise ConfigError(
        f'weights is {weights!r}, which is neither a path (*.pth) nor one of {family} of '
        f'torchvision: {", ".join(names)}.{nearest(name, names)}'
    )


def fetch_weights(weights: NamedWeights) -> Path:
    """Return the file of torchvision's ``weights`` in the cache of ``torch.hub``, after a download if it is not there.

    Raises:
        CheckpointError: it is not there and cannot be downloaded.
    """
    folder = torch.hub.get_dir()
    if folder.startswith('~'):  # of a user without a home, as containers have them
        raise CheckpointError(
            f'The weights {weights} have no place, as no home folder is known here. Set TORCH_HOME to a folder for '
            'them, or give the path of a file as model.backbone.weights (None trains from random weights).'
        )
    path = Path(folder) / 'checkpoints' / weights.url.rsplit('/', 1)[-1]
    try:
        # The name ends in the first digits of the checksum: resnet50-0676ba61.pth.
        digits = path.stem.rpartition('-')[2]
        download_once(weights.url, path, _MAX_BYTES, sha256=_SHA256.get(digits, digits))
    except (DownloadError, OSError) as error:
        raise CheckpointError(
            f'The weights {weights} could not be downloaded from {weights.url} ({error}). Fetch that address on a '
            f'machine with a network and put the file at {path}, or give its path as model.backbone.weights; '
            'model.backbone.weights=None trains from random weights. Weights of a whole detector (load_from) need none.'
        ) from error
    return path


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return a file's tensors by name: its state dict, bare or under ``state_dict`` or ``model``.

    Raises:
        CheckpointError: it is missing, or holds something else.
    """
    if not path.exists() and len(path.parts) == 1:
        path = WEIGHTS_BY_NAME.get('fetch_if_named')(path.name) or path
    if not path.is_file():
        raise CheckpointError(
            f"The backbone's weights {path} do not exist; give the path of a file, a name of "
            "torchvision's weights, or None for random ones (model.backbone.weights)."
        )
    try:
        if is_zip(path):
            open_stored(path).close()
        content = load_plain(path)
    except (pickle.UnpicklingError, *LOADING_ERRORS) as error:
        raise CheckpointError(
            f"The backbone's weights {path} cannot be read: the file is damaged, or holds more than "
            f'tensors and plain types ({type(error).__name__}). Convert a file of another project first, such as '
            "Darknet's: detkit convert darknet FILE OUT"
        ) from error
    for key in ('state_dict', 'model'):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not any(map(is_plain_tensor, content.values())):
        raise CheckpointError(f"The backbone's weights {path} hold no tensors by name.")
    return {str(name): value for name, value in content.items() if is_plain_tensor(value)}


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
    other = [name for name, value in tensors.items() if value.shape != target[name].shape]
    for names, what in ((missing, 'lack'), (other, 'have another shape of')):
        if names:
            raise CheckpointError(
                f'The weights {source} {what} {len(names)} of the {len(needed)} tensors of '
                f'{type(backbone).__name__} ({shorten(names)}): they belong to a '
                'network of another kind or depth.'
            )
    backbone.load_state_dict({name: tensors.get(name, value) for name, value in target.items()})
