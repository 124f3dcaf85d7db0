"""``describe_tile``: what ``draw_tile`` would do, as numbers for a renderer that draws whole batches."""

from __future__ import annotations

import numpy as np

from detkit.datasets.transforms.drawing import Placement, Resampling, fill_quad
from detkit.structures.render_plan import TileDrawing
from detkit.structures.scene import Tile, scale_matrix, translation_matrix

__all__ = ['describe_tile']


def describe_tile(
    tile: Tile,
    placement: Placement,
    resampling: Resampling,
    size: tuple[int, int],
    mask: np.ndarray | None = None,
) -> TileDrawing | None:
    """Return how a tile is drawn on a canvas of ``size`` (h, w); None where none of it can be seen.

    Args:
        tile: the tile; of its image the size alone is read.
        placement: as ``place_tile`` returned it.
        resampling: how it is resampled.
        size: (h, w) of the canvas.
        mask: ``(H, W)`` uint8; only where it is not 0 the tile is drawn.

    Raises:
        NotImplementedError: the tile is to be antialiased, which Pillow does.
    """
    if placement.empty:
        return None
    if resampling.antialias and tile.axis_aligned:
        raise NotImplementedError('a renderer of batches does not antialias: leave antialias out of Render')
    if placement.source is not None:
        inverse, bounds, reduction = _resized(placement, resampling)
    else:
        inverse, bounds, reduction = _warped(tile, placement, resampling)
    return TileDrawing(
        path=tile.path,
        inverse=inverse,
        bounds=bounds,
        spans=_spans(tile, placement, size),
        mask=None if mask is None else mask.astype(bool),
        reduction=reduction,
        layer=tile.layer,
        weight=tile.weight,
    )


def _resized(placement: Placement, resampling: Resampling) -> tuple[np.ndarray, tuple, tuple | None]:
    """Describe a plain resize of whole pixels to whole pixels."""
    x0, y0, x1, y1 = placement.source
    left, top, right, bottom = placement.target
    width, height = right - left, bottom - top
    same = (x1 - x0, y1 - y0) == (width, height)
    shrinks = not same and max((x1 - x0) / width, (y1 - y0) / height) > resampling.prefilter_above
    if shrinks:
        reduction, bounds = (x0, y0, x1, y1, width, height), (0, 0, width, height)
    else:
        reduction, bounds = None, placement.source
    sides = bounds[2] - bounds[0], bounds[3] - bounds[1]
    # From pixel centres to pixel centres, counted from the first column and row of the target and of the source.
    if resampling.align_corners and not same and not shrinks:
        within = scale_matrix(*(max(s - 1, 1) / max(t - 1, 1) for s, t in zip(sides, (width, height), strict=True)))
    else:
        scales = scale_matrix(sides[0] / width, sides[1] / height)
        within = translation_matrix(-0.5, -0.5) @ scales @ translation_matrix(0.5, 0.5)
    mirrored = [placement.matrix[axis, axis] < 0 for axis in range(2)]
    turn = np.diag([-1.0 if mirrored[0] else 1.0, -1.0 if mirrored[1] else 1.0, 1.0])
    turn[:2, 2] = [(width - 1) * mirrored[0], (height - 1) * mirrored[1]]
    inverse = translation_matrix(bounds[0], bounds[1]) @ within @ turn @ translation_matrix(-left, -top)
    return inverse, bounds, reduction


def _warped(tile: Tile, placement: Placement, resampling: Resampling) -> tuple[np.ndarray, tuple, tuple | None]:
    """Describe a warp by a matrix, of the image or of the image averaged over blocks of pixels."""
    height, width = tile.img.shape[:2]
    matrix, reduction = placement.matrix, None
    shrinks = 1 / np.maximum(np.hypot(matrix[0, :2], matrix[1, :2]), 1e-6)
    if shrinks.max() > resampling.prefilter_above:
        blocks = np.maximum(np.floor(shrinks), 1)
        small = [max(round(side / block), 1) for side, block in zip((width, height), blocks, strict=True)]
        reduction = (0, 0, width, height, *small)
        matrix = matrix @ scale_matrix(width / small[0], height / small[1])
        width, height = small
    inverse = np.linalg.inv(translation_matrix(-0.5, -0.5) @ matrix @ translation_matrix(0.5, 0.5))
    return inverse, (0, 0, width, height), reduction


def _spans(tile: Tile, placement: Placement, size: tuple[int, int]) -> np.ndarray:
    """Return ``(H, 4)`` int16, see ``TileDrawing.spans``."""
    x0, y0, x1, y1 = placement.target
    spans = np.zeros((size[0], 4), np.int16)
    if placement.source is not None or tile.axis_aligned:
        spans[y0:y1, :2] = x0, x1
        return spans
    # OpenCV draws the edges beside what it fills, which may leave a gap in a row.
    edges = np.diff(fill_quad(tile, placement) > 0, prepend=False, append=False, axis=1)  # (h, w + 1)
    counts = edges.sum(1)
    for count in (2, 4):
        rows = np.flatnonzero(counts == count)
        columns = x0 + np.nonzero(edges[rows])[1].reshape(len(rows), count)
        spans[y0 + rows, :2] = columns[:, [0, -1]]
        if count == 4:
            spans[y0 + rows, 2:] = columns[:, 1:3]
    assert counts.max(initial=0) <= 4, 'a convex quadrangle has two edges in a row'
    return spans
