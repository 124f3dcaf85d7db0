"""Images that are in memory: checked and brought into one form."""

from __future__ import annotations

from io import TextIOBase
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from detkit.utils.errors import DataError
from detkit.utils.files import size_text
from detkit.utils.limits import MAX_FILE_BYTES

_BLOCK = 1 << 20


@runtime_checkable
class OpenedFile(Protocol):
    """An opened file, or what is read like one."""

    def read(self, size: int, /) -> bytes: ...


def read_opened(file: OpenedFile) -> bytes:
    """Return the rest of an opened file.

    Raises:
        DataError: it gives no bytes, or more than ``MAX_FILE_BYTES``.
    """
    if isinstance(file, TextIOBase):
        raise DataError("a file opened as text gives no image; open it in mode 'rb'")
    content = bytearray()
    try:
        while part := file.read(_BLOCK):
            content += part
            if len(content) > MAX_FILE_BYTES:
                break
    except (OSError, ValueError, TypeError) as error:  # ValueError: it is closed; TypeError: it gives no bytes
        raise DataError(f'an opened file cannot be read: {error}') from error
    if len(content) > MAX_FILE_BYTES:
        raise DataError(f'an opened file holds more than {size_text(MAX_FILE_BYTES)}')
    if not content:
        raise DataError('an opened file has nothing left to read; call its seek(0) first if it was written or read')
    return bytes(content)


def check_array(img: np.ndarray, channel_order: str) -> np.ndarray:
    """Return ``(H, W, 3)`` uint8 RGB, contiguous."""
    if img.dtype != np.uint8:
        hint = ''
        if img.dtype.kind == 'f':
            hint = '; multiply values from 0 to 1 by 255, and convert them by img.round().astype(np.uint8)'
        raise DataError(f'an image given as array must be uint8, not {img.dtype}{hint}')
    if img.ndim == 2:
        img = img[..., None]
    if img.ndim != 3 or img.shape[2] not in (1, 3, 4) or not img.size:
        hint = ''
        if img.ndim == 3 and img.shape[0] in (1, 3, 4):
            hint = '; move its channels to the end by img.transpose(1, 2, 0)'
        elif img.ndim == 4:
            hint = '; give a batch as list(images)'
        raise DataError(
            f'an image given as array must be (H, W, 3), or (H, W) grey, or (H, W, 4) with alpha, not {img.shape}{hint}'
        )
    img = img[..., :3]
    img = img.repeat(3, 2) if img.shape[2] == 1 else img
    return np.ascontiguousarray(img[..., ::-1] if channel_order == 'bgr' else img)


def arrays_of_tensor(tensor: Tensor, channel_order: str) -> list[np.ndarray]:
    """Return the images ``(H, W, 3)`` uint8 RGB of a tensor."""
    shape = tuple(tensor.shape)
    if tensor.dim() not in (3, 4) or shape[-3] not in (1, 3) or not tensor.numel():
        hint = '; move its channels to the front by permute(2, 0, 1)' if tensor.dim() == 3 and shape[-1] == 3 else ''
        raise DataError(f'images given as tensor must be (3, H, W) or (B, 3, H, W), not {shape}{hint}')
    if tensor.is_floating_point():
        lowest, highest = tensor.min().item(), tensor.max().item()
        if not (lowest >= 0 and highest <= 1):  # NaN is neither
            raise DataError(
                f'images given as a tensor of floats must have values from 0 to 1, but these are from {lowest:g} to '
                f'{highest:g}; give them as they are before any normalisation, or as uint8'
            )
        tensor = (tensor.detach().float() * 255).round().to(torch.uint8)
    elif tensor.dtype != torch.uint8:
        raise DataError(f'images given as tensor must be uint8, or floats from 0 to 1, not {tensor.dtype}')
    batch = tensor.reshape(-1, *shape[-3:]).permute(0, 2, 3, 1).cpu().numpy()
    return [check_array(img, channel_order) for img in batch]
