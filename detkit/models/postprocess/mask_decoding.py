"""Masks in the original image: from prototypes and coefficients inside boxes, or from logits of whole masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from detkit.structures.masks import InstanceMasks


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
    crops = []
    for coeffs, (x0, y0, x1, y1) in zip(mask_coeffs, edges.tolist(), strict=True):
        if x1 <= x0 or y1 <= y0:
            crops.append(np.zeros((0, 0), bool))
            continue
        window = protos[rows.window(y0, y1), columns.window(x0, x1)]
        logits = rows.interpolate(window @ coeffs, y0, y1)  # (h', w', D) -> (h', w') -> (rows, w')
        crop = columns.interpolate(logits.T, x0, x1).T > 0
        crops.append(crop if retina_masks else columns.spread(rows.spread(crop, y0, y1).T, x0, x1).T)
    return InstanceMasks(crops, edges[:, :2], ori_shape)


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
        if fine:
            self.sample_of = np.arange(length)
        else:
            cells, self.sample_of = np.unique(np.floor(positions), return_inverse=True)
            positions = cells + 0.5
        centres = (positions / proto_stride - 0.5).clip(first, last)
        self.low = np.floor(centres).astype(np.int64)
        self.high = np.minimum(self.low + 1, last)
        self.nearness = centres - self.low

    def _samples(self, first: int, stop: int) -> slice:
        """Return the samples that the original pixels [first, stop) take their values from."""
        return slice(self.sample_of[first], self.sample_of[stop - 1] + 1)

    def window(self, first: int, stop: int) -> slice:
        """Return the prototype pixels that the original pixels [first, stop) depend on."""
        samples = self._samples(first, stop)
        return slice(self.low[samples.start], self.high[samples.stop - 1] + 1)

    def interpolate(self, values: np.ndarray, first: int, stop: int) -> np.ndarray:
        """Interpolate the values of the window of [first, stop), along the first axis, at the samples."""
        samples = self._samples(first, stop)
        origin = self.low[samples.start]
        lower, between = values.take(self.low[samples] - origin, 0), values.take(self.high[samples] - origin, 0)
        between -= lower
        between *= self.nearness[samples, None].astype(values.dtype)
        between += lower
        return between

    def spread(self, values: np.ndarray, first: int, stop: int) -> np.ndarray:
        """Return the values at the original pixels [first, stop) for values at their samples, along the first axis."""
        return values[self.sample_of[first:stop] - self.sample_of[first]]
