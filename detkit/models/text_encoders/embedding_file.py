"""``EmbeddingFile``: vectors of names from a file, and the writing of such a file."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from detkit.protocols import TextEncoder
from detkit.registry import TEXT_ENCODERS
from detkit.utils.errors import ConfigError, DataError, nearest, shorten
from detkit.utils.files import ZIP_ERRORS, replacing
from detkit.utils.limits import BYTES_VARIABLE, MAX_FILE_BYTES
from detkit.utils.safetensors_file import read_safetensors

_KEYS = ('names', 'embeddings')


@TEXT_ENCODERS.register_module()
class EmbeddingFile(TextEncoder):
    """Encoder that looks names up in a file, which is read when the first name is asked for.

    Args:
        path: the file, see ``read_embeddings``.
        dims: D, length of the vectors.
    """

    def __init__(self, path: str, dims: int = 512) -> None:
        self.path = path
        self.dims = dims
        self._vectors: dict[str, Tensor] | None = None

    def __call__(self, names: Sequence[str]) -> Tensor:
        """Return vectors of length 1, ``(len(names), D)`` float32.

        Raises:
            DataError: the file is missing, damaged, lacks a name, or has vectors of another length.
        """
        if self._vectors is None:
            self._vectors = read_embeddings(self.path)
        vectors = self._vectors
        missing = [name for name in names if name not in vectors]
        if missing:
            raise DataError(
                f'{self.path} has no embedding of {shorten(missing)}; it has {len(vectors)} names.'
                f'{nearest(missing[0], vectors)} Add the missing ones by save_embeddings, see docs/yolo_world.md'
            )
        found = len(next(iter(vectors.values()))) if vectors else self.dims
        if found != self.dims:
            raise DataError(
                f'{self.path} has vectors of {found} numbers, but the model takes {self.dims}: use a file of the '
                f'text encoder that the model was trained with, or train with text_encoder.dims={found}'
            )
        return torch.stack([vectors[name] for name in names]) if names else torch.zeros(0, self.dims)


def read_embeddings(path: str | Path) -> dict[str, Tensor]:
    """Return the vectors of names, ``(D,)`` float32 of length 1; arguments and errors are those of ``read_vectors``."""
    vectors = read_vectors(path)
    return dict(zip(vectors, unit_rows(torch.stack(list(vectors.values()))), strict=True)) if vectors else {}


def unit_rows(matrix: Tensor) -> Tensor:
    """Return rows ``(N, D)`` of finite numbers other than zero, scaled to length 1, in float32."""
    # divided by the largest number first: the squares of very large or small numbers are no floats
    return F.normalize((matrix / matrix.abs().amax(1, keepdim=True)).float(), dim=1)


def read_vectors(path: str | Path) -> dict[str, Tensor]:
    """Return the vectors of names as a file has them, of any length other than 0, ``(D,)`` in float32 or float64.

    Args:
        path: a ``.npz`` file of NumPy with the arrays ``names`` (N texts) and ``embeddings (N, D)``, or a
            ``.safetensors`` file with a tensor ``(D,)`` for each name. Nothing in it is executed.

    Raises:
        DataError: the file is missing, damaged or of another kind, or a vector is not finite or zero.
    """
    path = Path(os.path.expanduser(path))
    if not path.is_file():
        raise DataError(f'the file of text embeddings {path} does not exist')
    if path.suffix.lower() == '.safetensors':
        tensors = read_safetensors(path)
        names, rows = list(tensors), [tensor.numpy(force=True) for tensor in _floats(tensors, path)]
        if len({row.shape for row in rows}) > 1 or any(row.ndim != 1 for row in rows):
            raise DataError(f'{path} must hold a vector for each name, all of one length')
        matrix = np.stack(rows) if rows else np.zeros((0, 0), np.float32)
    elif path.suffix.lower() == '.npz':
        names, matrix = _read_npz(path)
    else:
        raise DataError(f'{path} is no file of text embeddings; expected .npz or .safetensors')
    for name, row in zip(names, matrix, strict=True):
        if not np.isfinite(row).all() or not row.any():
            raise DataError(f'{path}: the embedding of {name!r} is zero or has numbers that are not finite')
    matrix = matrix.astype(np.promote_types(matrix.dtype, np.float32), copy=False)
    if matrix.dtype.itemsize > 8 and matrix.size:  # longdouble, which PyTorch lacks, and whose numbers may be larger
        matrix = (matrix / np.abs(matrix).max(axis=1, keepdims=True)).astype(np.float64)
    return dict(zip(names, torch.from_numpy(matrix), strict=True))


def save_embeddings(path: str | Path, names: Sequence[str], embeddings: Tensor) -> None:
    """Write vectors of names as a ``.npz`` file that ``read_embeddings`` reads.

    Args:
        path: the file; one that exists is replaced.
        names: N names.
        embeddings: ``(N, D)``.

    Raises:
        ConfigError: the path does not end in ``.npz``, a name is there twice, or the numbers of names and rows differ.
        OSError: the file cannot be written.
    """
    path = Path(os.path.expanduser(path))
    if path.suffix.lower() != '.npz':
        raise ConfigError(f'{path} must end in .npz')
    if embeddings.ndim != 2 or len(embeddings) != len(names):
        raise ConfigError(
            f'{len(names)} names need {len(names)} rows, found embeddings {tuple(embeddings.shape)}'
            '; give one row (D,) for each name'
        )
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise ConfigError(f'the name {twice!r} is there twice')
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        np.savez(file, names=np.array(names, dtype=str), embeddings=embeddings.detach().cpu().float().numpy())


def _floats(tensors: dict[str, Tensor], path: Path) -> list[Tensor]:
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise DataError(f'{path}: {name!r} is {str(tensor.dtype).removeprefix("torch.")}, but must be a float')
    # NumPy has no bfloat16.
    return [tensor.to(torch.promote_types(tensor.dtype, torch.float32)) for tensor in tensors.values()]


def _read_npz(path: Path) -> tuple[list[str], np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            missing = [key for key in _KEYS if f'{key}.npy' not in archive.namelist()]
            if missing:
                raise DataError(f'{path} has no array {missing[0]!r}; it must hold names (N,) and embeddings (N, D)')
            _check_headers(path, *(_read_header(archive, key) for key in _KEYS))
            found, matrix = (_read_array(archive, key) for key in _KEYS)
        names = found.tolist()
    except (*ZIP_ERRORS, KeyError, MemoryError, SystemError) as error:  # the last for characters that do not exist
        raise DataError(
            f'{path} is damaged, or holds more than plain arrays ({error}); copy it again, or write it by '
            'save_embeddings, see docs/yolo_world.md'
        ) from error
    if len(set(names)) != len(names):
        raise DataError(f'{path} has {len(names)} names, {len(set(names))} of them different; each must be there once')
    return names, matrix


def _read_header(archive: zipfile.ZipFile, key: str) -> tuple[tuple[int, ...], np.dtype]:
    """Return shape and type of an array, of which nothing but the header is unpacked."""
    member = f'{key}.npy'
    with archive.open(member) as file:
        # Versions 2 and 3 of the format differ in the names of fields, which no array here has.
        first = np.lib.format.read_magic(file) == (1, 0)
        read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        size = archive.getinfo(member).file_size - file.tell()
    if size > MAX_FILE_BYTES:
        raise ValueError(f'{key} unpacks to {size:,} bytes, more than {MAX_FILE_BYTES:,}; {BYTES_VARIABLE} raises that')
    if not dtype.hasobject and size != prod(shape) * dtype.itemsize:
        raise ValueError(f'{key} has {size} bytes, but its header says {dtype} {shape}')
    return shape, dtype


def _check_headers(
    path: Path, names: tuple[tuple[int, ...], np.dtype], matrix: tuple[tuple[int, ...], np.dtype]
) -> None:
    (name_shape, name_type), (shape, dtype) = names, matrix
    if len(name_shape) != 1 or name_type.kind != 'U' or len(shape) != 2 or dtype.kind != 'f':
        raise DataError(
            f'{path} must hold names (N,) of text and embeddings (N, D) of floats; found {name_type} {name_shape} and '
            f'{dtype} {shape}'
        )
    if name_shape[0] != shape[0]:
        raise DataError(f'{path} has {name_shape[0]} names and {shape[0]} embeddings; each name needs one')


def _read_array(archive: zipfile.ZipFile, key: str) -> np.ndarray:
    with archive.open(f'{key}.npy') as file:
        return np.lib.format.read_array(file, allow_pickle=False)
