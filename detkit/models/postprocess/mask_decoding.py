"""Masks in the original image: from prototypes and coefficients inside boxes, or from logits of whole masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from detkit.structures.masks import InstanceMasks

# Multiplications of a product of matrices that NumPy's OpenBLAS computes on the calling thread. For more it has threads
# of its own, which compete with those of PyTorch: the latter keep their cores for a while after the network's run.
_UNSHARED_WORK = 1 << 18


def decode_masks(
    mask_coeffs: np.ndarray,
    mask_protos: np.ndarray,
    bboxes: np.ndarray,
    matrix: np.ndarray,
    ori_shape: tuple[int, int],
    proto_stride: float = 4.0,
    retina_masks: bool = True,
) -> InstanceMasks:
    """Return the binary masks of the N objects of one image.

    The logits of a mask are coefficients times prototypes, upsampled bilinearly. The mask consists of the pixels inside
    the box whose logit is above 0, which is a probability above one half.

    Args:
        mask_coeffs: ``(N, D)`` float.
        mask_protos: ``(D, h, w)`` float.
        bboxes: ``(N, 4)`` xyxy in pixels of the **original** image.
        matrix: ``(3, 3)`` original pixels -> input pixels, which must neither rotate, shear nor mirror.
        ori_shape: (h, w) of the original image.
        proto_stride: input pixels per prototype pixel.
        retina_masks: True computes each pixel of the original image, as published results do; False computes each pixel
            of the network's input and copies it to the original pixels, which is faster for large images.

    Raises:
        ValueError: ``matrix`` rotates, shears or mirrors.
    """
    matrix = _checked(matrix)
    proto_h, proto_w = mask_protos.shape[1:]
    ori_h, ori_w = ori_shape
    columns = _Axis(ori_w, matrix[0, 0], matrix[0, 2], proto_w, proto_stride, retina_masks)
    rows = _Axis(ori_h, matrix[1, 1], matrix[1, 2], proto_h, proto_stride, retina_masks)
    protos = np.ascontiguousarray(mask_protos.transpose(1, 2, 0))  # (D, h, w) -> (h, w, D)
    # Pixel j is inside when x0 <= j < x1.
    edges = np.ceil(bboxes).clip(0, [ori_w, ori_h, ori_w, ori_h]).astype(np.int64)
    edges[:, 2:] = np.maximum(edges[:, 2:], edges[:, :2])
    filled = (edges[:, 2:] > edges[:, :2]).all(1)
    edges[~filled, 2:] = edges[~filled, :2]
    logits = [np.zeros((0, 0), protos.dtype)] * len(edges)
    tops, bottoms = rows.windows(edges[filled, 1], edges[filled, 3])
    lefts, rights = columns.windows(edges[filled, 0], edges[filled, 2])
    for i, top, bottom, left, right in zip(np.flatnonzero(filled).tolist(), tops, bottoms, lefts, rights, strict=True):
        logits[i] = protos[top:bottom, left:right] @ mask_coeffs[i]  # (h', w', D) -> (h', w')
    return InstanceMasks(_ProtoCrops(logits, edges, rows, columns), edges[:, :2], ori_shape)


class _ProtoCrops:
    """The masks of N objects as logits at prototype pixels, which take less memory than the masks that they become.

    Args:
        logits: ``(h', w')`` of each object, the window that its box depends on.
        edges: ``(N, 4)`` int64 xyxy, the original pixels of each box.
        rows, columns: the samples along both axes.
    """

    def __init__(self, logits: list[np.ndarray], edges: np.ndarray, rows: _Axis, columns: _Axis) -> None:
        self._logits = logits
        self._edges = edges
        self._rows = rows
        self._columns = columns
        self.sizes = edges[:, :1:-1] - edges[:, 1::-1]  # (h, w)

    def choose(self, indices: np.ndarray) -> _ProtoCrops:
        return _ProtoCrops([self._logits[i] for i in indices], self._edges[indices], self._rows, self._columns)

    def draw(self) -> list[np.ndarray]:
        if not self._logits:
            return []
        dtype = self._logits[0].dtype
        upwards, sideways = self._rows.weights(dtype), np.ascontiguousarray(self._columns.weights(dtype).T)
        room = np.empty(int(self.sizes.prod(1).max()), dtype)  # one for all, which stays in the cache
        zero = np.zeros((), dtype)  # an array: a number is converted in each comparison, half of a small one's time
        crops = [np.zeros((0, 0), bool)] * len(self._logits)
        filled = np.flatnonzero(self.sizes.all(1))
        x0, y0, x1, y1 = self._edges[filled].T
        ranges = (*self._rows.samples(y0, y1), *self._rows.windows(y0, y1))
        ranges += (*self._columns.windows(x0, x1), *self._columns.samples(x0, x1))
        for i, top, bottom, low, high, near, far, left, right in zip(filled.tolist(), *ranges, strict=True):
            values = room[: (bottom - top) * (right - left)].reshape(bottom - top, right - left)
            up = _product(upwards[top:bottom, low:high], self._logits[i])  # (rows, h') @ (h', w')
            _product(up, sideways[near:far, left:right], out=values)  # (rows, w') @ (w', columns)
            crops[i] = values > zero
        if not (self._rows.fine and self._columns.fine):
            for i, first_x, first_y, end_x, end_y in zip(filled.tolist(), *self._edges[filled].T, strict=True):
                tall = self._rows.spread(crops[i], first_y, end_y)
                crops[i] = self._columns.spread(tall.T, first_x, end_x).T
        return crops


def _product(one: np.ndarray, other: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return ``one @ other`` of two matrices, without threads beside those of PyTorch."""
    if one.size * other.shape[1] <= _UNSHARED_WORK:
        return np.matmul(one, other, out=out)
    out = np.empty((len(one), other.shape[1]), one.dtype) if out is None else out
    torch.mm(*map(torch.from_numpy, (one, other)), out=torch.from_numpy(out))
    return out


def resample_masks(
    mask_logits: Tensor, matrix: np.ndarray, ori_shape: tuple[int, int], strides: Sequence[float]
) -> Tensor:
    """Resample logits of whole masks bilinearly at the pixels of the original image, on the same device.

    Args:
        mask_logits: ``(N, h, w)``.
        matrix: ``(3, 3)`` original pixels -> input pixels, which must neither rotate, shear nor mirror.
        ori_shape: (h, w) of the original image.
        strides: input pixels per mask pixel, vertically and horizontally.

    Returns:
        ``(N, *ori_shape)``.

    Raises:
        ValueError: ``matrix`` rotates, shears or mirrors.
    """
    matrix = _checked(matrix)
    for dim, axis in ((2, 0), (1, 1)):  # columns first, while there are fewer rows
        length = mask_logits.shape[dim]
        axis_samples = _Axis(ori_shape[1 - axis], matrix[axis, axis], matrix[axis, 2], length, strides[1 - axis], True)
        low, high, nearness = (
            torch.from_numpy(values).to(mask_logits.device)
            for values in (axis_samples.low, axis_samples.high, axis_samples.nearness)
        )
        nearness = nearness.to(mask_logits.dtype).view(-1, *[1] * (2 - dim))
        mask_logits = torch.lerp(mask_logits.index_select(dim, low), mask_logits.index_select(dim, high), nearness)
    return mask_logits


def _checked(matrix: np.ndarray) -> np.ndarray:
    matrix = np.asarray(matrix, np.float64)
    if np.abs(matrix[[0, 1], [1, 0]]).max() > 1e-9 or matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise ValueError(f'masks need a matrix that only scales and shifts, found {matrix.tolist()}')
    return matrix


class _Axis:
    """Samples of mask logits along one axis: the two prototype pixels of each, and its position between them.

    Prototype pixels in the padding around the image are never read; the outermost one inside is extrapolated.

    Args:
        length: pixels of the original image.
        scale, shift: original coordinate -> input coordinate.
        proto_length: prototype pixels.
        proto_stride: input pixels per prototype pixel.
        fine: sample at original pixels, otherwise at input pixels.
    """

    def __init__(
        self, length: int, scale: float, shift: float, proto_length: int, proto_stride: float, fine: bool
    ) -> None:
        first = min(max(round(shift / proto_stride), 0), proto_length - 1)
        last = min(max(round((shift + length * scale) / proto_stride) - 1, first), proto_length - 1)
        positions = (np.arange(length) + 0.5) * scale + shift  # of the original pixels' centres, in input pixels
        self.fine = fine
        if fine:
            self.sample_of = np.arange(length)
        else:
            cells, self.sample_of = np.unique(np.floor(positions), return_inverse=True)
            positions = cells + 0.5
        centres = (positions / proto_stride - 0.5).clip(first, last)
        self.low = np.floor(centres).astype(np.int64)
        self.high = np.minimum(self.low + 1, last)
        self.nearness = centres - self.low

    def samples(self, first: np.ndarray, stop: np.ndarray) -> tuple[list[int], list[int]]:
        """Return the first sample and the end of those that N ranges [first, stop) of original pixels are made of."""
        return self.sample_of[first].tolist(), (self.sample_of[stop - 1] + 1).tolist()

    def windows(self, first: np.ndarray, stop: np.ndarray) -> tuple[list[int], list[int]]:
        """Return the first and the end of the prototype pixels that N ranges of original pixels depend on."""
        return self.low[self.sample_of[first]].tolist(), (self.high[self.sample_of[stop - 1]] + 1).tolist()

    def weights(self, dtype: np.dtype) -> np.ndarray:
        """Return the matrix ``(samples, prototype pixels)`` that interpolates along the axis."""
        matrix = np.zeros((len(self.low), self.high[-1] + 1), dtype)
        samples = np.arange(len(self.low))
        matrix[samples, self.low] = 1 - self.nearness
        matrix[samples, self.high] += self.nearness.astype(dtype)  # the same pixel as ``low`` at the border
        return matrix

    def spread(self, values: np.ndarray, first: int, stop: int) -> np.ndarray:
        """Return the values at the original pixels [first, stop) for values at their samples, along the first axis."""
        return values if self.fine else values[self.sample_of[first:stop] - self.sample_of[first]]
