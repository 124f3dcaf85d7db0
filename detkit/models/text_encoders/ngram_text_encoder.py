"""``NgramTextEncoder``: vectors of names by their spelling."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from detkit.protocols import TextEncoder
from detkit.registry import TEXT_ENCODERS
from detkit.utils.errors import ConfigError

_WORD = re.compile(r'\w+')


@TEXT_ENCODERS.register_module()
class NgramTextEncoder(TextEncoder):
    """Encoder of names by their words and the groups of letters in them; it has no weights and needs no files.

    Names that are spelled alike have similar vectors ('red bolt' and 'Red bolts'), others nearly orthogonal ones, so
    that it serves for classes that are known in advance, and for tests. It knows nothing of meaning: 'car' and
    'automobile' are as different as any two names.

    A group of letters adds 1 or -1 at an index, both of which are taken from its checksum (feature hashing,
    https://arxiv.org/abs/0902.2206).

    Args:
        dims: D, length of the vectors.
        num_letters: letters of a group; beginnings and ends of words count as a letter.
    """

    def __init__(self, dims: int = 512, num_letters: int = 3) -> None:
        if dims < 1 or num_letters < 1:
            raise ConfigError(
                f'NgramTextEncoder: dims is {dims} and num_letters {num_letters}; both must be at least 1'
            )
        self.dims = dims
        self.num_letters = num_letters

    def __call__(self, names: Sequence[str]) -> Tensor:
        """Return vectors of length 1, ``(len(names), D)`` float32."""
        vectors = torch.zeros(len(names), self.dims)
        for row, name in zip(vectors, names, strict=True):
            for feature in self._features(name):
                checksum = zlib.crc32(feature.encode())
                row[(checksum >> 1) % self.dims] += 1 if checksum & 1 else -1
            if not row.any():  # signs or nothing at all, or groups that cancel out
                row[zlib.crc32(name.encode()) % self.dims] = 1
        return F.normalize(vectors, dim=1)

    def _features(self, name: str) -> Iterator[str]:
        for word in _WORD.findall(name.lower()):
            padded = f'<{word}>'
            yield padded
            for start in range(max(len(padded) - self.num_letters + 1, 0)):
                yield padded[start : start + self.num_letters]
