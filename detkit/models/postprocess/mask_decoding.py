"""Masks from prototypes and coefficients, in the original image and only inside their boxes."""

from __future__ import annotations

import numpy as np

from detkit.structures.masks import InstanceMasks


def decode_masks(
    mask_coeffs: np.ndarray,
    mask_protos: np.ndarray,
    bboxes: np.ndarray,
    matrix: np.ndarray,
    ori_shape: tuple[int, int],
    proto_stride: float = 4.,
    retina_masks: bool = True,
) -> InstanceMasks:
    """Binary masks of one image's N objects.

    A mask's logits are coefficients times prototypes, enlarged bilinearly to the original image; the mask is where they
    are above 0, that is, the probability is above one half.

    Args:
        mask_coeffs: ``(N, D)`` float.
        mask_protos: ``(D, h, w)`` float.
        bboxes: ``(N, 4)`` xyxy in pixels of the **original** image.
        matrix: ``(3, 3)`` original pixels -> input pixels, which must not rotate or shear.
        ori_shape: (h, w) of the original image.
        proto_stride: input pixels a prototype pixel.
        retina_masks: True enlarges, then cuts at the box's sides (exact edges, published COCO figures are made so);
            False cuts at prototype resolution, then enlarges, so that a mask may reach out of its box by the blur.

    Raises:
        ValueError: ``matrix`` rotates, shears or mirrors.
    """
    matrix = np.asarray(matrix, np.float64)
    if np.abs(matrix[[0, 1], [1, 0]]).max() > 1e-9 or matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise ValueError(f'masks need a matrix that only scales and shifts, found {matrix.tolist()}')
    scale_xy, shift_xy = matrix[[0, 1], [0, 1]] / proto_stride, matrix[:2, 2] / proto_stride  # original -> prototype
    proto_h, proto_w = mask_protos.shape[1:]
    ori_h, ori_w = ori_shape
    columns = _Axis(ori_w, scale_xy[0], shift_xy[0], proto_w)
    rows = _Axis(ori_h, scale_xy[1], shift_xy[1], proto_h)
    protos = np.ascontiguousarray(mask_protos.transpose(1, 2, 0))  # (D, h, w) -> (h, w, D)
    # Pixel j counts when x0 <= j < x1.
    limits = np.array([ori_w, ori_h, ori_w, ori_h])
    edges = np.ceil(bboxes).clip(0, limits).astype(np.int64)
    crops = []
    offsets = np.zeros((len(bboxes), 2), np.int64)
    for i, coeffs in enumerate(mask_coeffs):
        x0, y0, x1, y1 = edges[i]
        cut = None
        if not retina_masks:
            cut = np.ceil(bboxes[i] * np.tile(scale_xy, 2) + np.tile(shift_xy, 2)).astype(np.int64)
            x0, x1 = columns.touched_by(cut[0], cut[2])
            y0, y1 = rows.touched_by(cut[1], cut[3])
        offsets[i] = x0, y0
        if x1 <= x0 or y1 <= y0:
            crops.append(np.zeros((0, 0), bool))
            continue
        px0, px1 = columns.low[x0], columns.high[x1 - 1] + 1
        py0, py1 = rows.low[y0], rows.high[y1 - 1] + 1
        logits = protos[py0:py1, px0:px1] @ coeffs  # (h', w', D) -> (h', w')
        if cut is not None:
            logits[:max(cut[1] - py0, 0)] = 0
            logits[max(cut[3] - py0, 0):] = 0
            logits[:, :max(cut[0] - px0, 0)] = 0
            logits[:, max(cut[2] - px0, 0):] = 0
        logits = rows.interpolate(logits, y0, y1, py0)
        crops.append(columns.interpolate(logits.T, x0, x1, px0).T > 0)
    return InstanceMasks(crops, offsets, ori_shape)


class _Axis:
    """Along one axis: the two prototype pixels between which every pixel of the original image lies, and how far.

    Prototype pixels in the padding around the image are never read: beyond the outermost one inside, its value holds.

    Args:
        length: pixels of the original image.
        scale, shift: original coordinate -> prototype coordinate.
        proto_length: prototype pixels.
    """

    def __init__(self, length: int, scale: float, shift: float, proto_length: int) -> None:
        first = min(max(round(shift), 0), proto_length - 1)
        last = min(max(round(shift + length * scale) - 1, first), proto_length - 1)
        centres = ((np.arange(length) + 0.5) * scale + shift - 0.5).clip(first, last)
        self.low = np.floor(centres).astype(np.int64)
        self.high = np.minimum(self.low + 1, last)
        self.nearness = centres - self.low

    def touched_by(self, first: int, stop: int) -> tuple[int, int]:
        """The original pixels (first, stop) whose interpolation reads any prototype pixel in [first, stop)."""
        return int(np.searchsorted(self.high, first)), int(np.searchsorted(self.low, stop))

    def interpolate(self, values: np.ndarray, first: int, stop: int, origin: int) -> np.ndarray:
        """Original pixels [first, stop) along the first axis of ``values``, whose start is prototype pixel ``origin``."""
        low, high = self.low[first:stop] - origin, self.high[first:stop] - origin
        nearness = self.nearness[first:stop, None].astype(values.dtype)
        lower = values[low]
        return lower + nearness * (values[high] - lower)
