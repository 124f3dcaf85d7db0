"""``read_safetensors``: a reader of the safetensors format (https://github.com/huggingface/safetensors).

A file is the length of a header, the header in JSON, and the bytes of the tensors in a row.
"""

from __future__ import annotations

import json
import struct
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detkit.utils.errors import CheckpointError

_DTYPES = {
    'F64': torch.float64,
    'F32': torch.float32,
    'F16': torch.float16,
    'BF16': torch.bfloat16,
    'I64': torch.int64,
    'I32': torch.int32,
    'I16': torch.int16,
    'I8': torch.int8,
    'U8': torch.uint8,
    'BOOL': torch.bool,
}
_LENGTH = struct.Struct('<Q')
# The errors that a damaged or forged header leads to.
_FORGED = (struct.error, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError, RuntimeError)


def is_safetensors(path: Path) -> bool:
    """Return whether a file begins with a length that fits into it, and a brace."""
    with path.open('rb') as file:
        start = file.read(_LENGTH.size + 1)
    return (
        len(start) == _LENGTH.size + 1
        and start.endswith(b'{')
        and _LENGTH.unpack(start[:-1])[0] <= path.stat().st_size - _LENGTH.size
    )


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name.

    Raises:
        CheckpointError: the file cannot be read or is damaged: its header names a tensor twice, or tensors overlap, or
            leave bytes between them or at the end, or have another data type than PyTorch's plain ones.
    """
    try:
        data = bytearray(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f'{path} cannot be read: {error.strerror}.') from error
    try:
        (length,) = _LENGTH.unpack_from(data)
        begin = _LENGTH.size + length
        header = json.loads(data[_LENGTH.size : begin].decode('utf-8'), object_pairs_hook=_without_twins)
        entries = {name: entry for name, entry in header.items() if name != '__metadata__'}
        _check_offsets([entry['data_offsets'] for entry in entries.values()], len(data) - begin)
        other = {name: entry['dtype'] for name, entry in entries.items() if entry['dtype'] not in _DTYPES}
        if not other:
            return {name: _tensor(data, begin, entry) for name, entry in entries.items()}
    except _FORGED as error:
        reason = str(error)[:200] or type(error).__name__
        raise CheckpointError(f'{path} is damaged ({reason}); copy the file again.') from error
    name, dtype = next(iter(other.items()))
    raise CheckpointError(
        f'{path} has {len(other)} tensors of other data types than {", ".join(_DTYPES)}, such as {name!r} of '
        f'{dtype!r}; save the weights as F32.'
    )


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the entries of a JSON object, in which programs that read a name twice differ in the one they take."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f'{name!r} is there twice')
        found[name] = value
    return found


def _check_offsets(offsets: list[list[int]], length: int) -> None:
    """Check that tensors lie in a row that fills the file: a few bytes cannot be many tensors."""
    position = 0
    for start, end in sorted(offsets):
        if start != position:
            raise ValueError(f'a tensor begins at {start:,}, where the one before ends at {position:,}')
        position = end
    if position != length:
        raise ValueError(f'{length:,} bytes of tensors, of which {position:,} are described')


def _tensor(data: bytearray, begin: int, entry: dict[str, Any]) -> Tensor:
    dtype, shape, (start, end) = _DTYPES[entry['dtype']], entry['shape'], entry['data_offsets']
    if not all(type(value) is int and value >= 0 for value in (start, end, *shape)):
        raise ValueError('a size or an offset is no whole number')
    fits = end - start == prod(shape) * dtype.itemsize
    if not fits or not 0 <= start <= end <= len(data) - begin:
        raise ValueError('a tensor lies outside of the file')
    if start == end:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(data, dtype=dtype, count=prod(shape), offset=begin + start).reshape(shape).clone()
