"""Darknet's ``.weights`` files: a short header, then every parameter as float32, layer after layer.

Of a convolution with normalisation: its biases, scales, running means, running variances, then the kernels; without:
biases, kernels. No names and no shapes, so that a file says only how many numbers it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from detkit.converters.darknet_layout import Layer
from detkit.utils.errors import CheckpointError

# What OpenCV adds to a running variance; Darknet itself adds as much to its root, later releases ten times as much.
DARKNET_EPS = 1e-6
_NORMALISED = ('bn.bias', 'bn.weight', 'bn.running_mean', 'bn.running_var', 'conv.weight')
_PLAIN = ('bias', 'weight')


@dataclass(frozen=True)
class Header:
    """Of a ``.weights`` file: the version of its format, and how many images the model was trained on."""

    major: int = 0
    minor: int = 2
    revision: int = 5
    seen: int = 0

    @property
    def wide(self) -> bool:
        """Whether ``seen`` takes eight bytes."""
        return self.major * 10 + self.minor >= 2 and self.major < 1000 and self.minor < 1000

    def to_bytes(self) -> bytes:
        version = np.array([self.major, self.minor, self.revision], '<i4').tobytes()
        return version + np.array([self.seen], '<i8' if self.wide else '<i4').tobytes()


def read_stream(path: str | Path) -> tuple[Header, np.ndarray]:
    """The header and the float32 numbers behind it.

    Raises:
        CheckpointError: the file is missing, truncated, or something else.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f'{path} does not exist; give the path of a Darknet .weights file.')
    size = path.stat().st_size
    with open(path, 'rb') as file:
        version = file.read(12)
        if len(version) < 12 or version[:2] == b'PK':
            raise CheckpointError(
                f'{path} is no Darknet .weights file ({size} bytes, '
                f'{"a zip archive" if version[:2] == b"PK" else "no header"}).'
            )
        header = Header(*np.frombuffer(version, '<i4').tolist())
        width = 8 if header.wide else 4
        count, rest = divmod(size - 12 - width, 4)
        if not 0 <= header.major < 1000 or not 0 <= header.minor < 1000 or count <= 0 or rest:
            raise CheckpointError(
                f'{path} is no Darknet .weights file, or a truncated one: {size} bytes are not a '
                f'header of {12 + width} and whole numbers of 4.'
            )
        seen = int(np.frombuffer(file.read(width), f'<i{width}')[0])
        values = np.fromfile(file, '<f4')
    return Header(header.major, header.minor, header.revision, seen), values


def tensor_names(layers: Iterable[Layer], names: Iterable[str]) -> list[tuple[Layer, str]]:
    """Each parameter in the stream's order, with its layer.

    Args:
        names: of detkit's state dict.
    """
    names = set(names)
    return [
        (layer, f'{layer.prefix}.{name}')
        for layer in layers
        if layer.prefix
        for name in (_NORMALISED if f'{layer.prefix}.bn.weight' in names else _PLAIN)
    ]


def count_numbers(layers: Iterable[Layer], state: Mapping[str, Tensor]) -> int:
    """How many numbers the stream of a model with these tensors has; ``state`` may be on the ``meta`` device."""
    return sum(state[name].numel() for _, name in tensor_names(layers, state))


def from_stream(
    values: np.ndarray, layers: Iterable[Layer], shapes: Mapping[str, Tensor], source: str | Path, model: str
) -> dict[str, Tensor]:
    """A state dict from a stream.

    Args:
        values: of ``read_stream``.
        layers: of the model's ``Layout``.
        shapes: the model's state dict, of which only shapes count.
        source, model: names for messages.

    Raises:
        CheckpointError: the stream has more or fewer numbers, or numbers that cannot be this model's.
    """
    layers = list(layers)
    expected = count_numbers(layers, shapes)
    if len(values) != expected:
        raise CheckpointError(
            f'{source} holds {len(values):,} numbers, {model} takes {expected:,}: it is of another '
            f'model, or {"truncated" if len(values) < expected else "has something behind its end"}.'
        )
    state = {
        name: torch.zeros_like(tensor, device='cpu')
        for name, tensor in shapes.items()
        if name.endswith('num_batches_tracked')
    }
    start = 0
    for layer, name in tensor_names(layers, shapes):
        shape = shapes[name].shape
        tensor = torch.tensor(values[start : start + shape.numel()]).view(shape)
        start += shape.numel()
        if not torch.isfinite(tensor).all() or (name.endswith('running_var') and (tensor < 0).any()):
            raise CheckpointError(
                f'{source} is damaged or of another model: what would be {name} of {model} has '
                f'{"negative variances" if torch.isfinite(tensor).all() else "infinite numbers"}.'
            )
        state[name] = reverse_groups(tensor, layer.groups)
    return {name: state[name] for name in shapes}


def to_stream(layers: Iterable[Layer], state: Mapping[str, Tensor], eps: Mapping[str, float]) -> np.ndarray:
    """The inverse of ``from_stream``, float32.

    Args:
        eps: of each normalised layer, by its prefix. What it differs from Darknet's goes into the running variance, so
            that both compute the same.
    """
    parts = []
    for layer, name in tensor_names(layers, state):
        tensor = state[name].float()
        if name.endswith('running_var') and eps[layer.prefix] != DARKNET_EPS:
            tensor = (tensor.double() + (eps[layer.prefix] - DARKNET_EPS)).clamp(min=0).float()
        parts.append(reverse_groups(tensor, layer.groups).flatten())
    return torch.cat(parts).numpy().astype('<f4', copy=False)


def reverse_groups(tensor: Tensor, groups: int) -> Tensor:
    """A kernel ``(out, in, k, k)`` with its ``groups`` equal parts of the input channels in reverse order.

    What has no input channels stays as it is.
    """
    if groups == 1 or tensor.dim() < 4:
        return tensor
    return tensor.unflatten(1, (groups, -1)).flip(1).flatten(1, 2).contiguous()
