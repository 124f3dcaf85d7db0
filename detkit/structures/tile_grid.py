"""The grid of overlapping tiles that covers a large image."""

from __future__ import annotations


def tile_starts(length: int, size: int, overlap: int) -> list[int]:
    """Return where tiles start along a side of an image: ``size - overlap`` apart, the last one flush with the end."""
    if length <= size:
        return [0]
    return [*range(0, length - size, size - overlap), length - size]


def tile_rects(
    shape: tuple[int, int], size: tuple[int, int], overlap: tuple[int, int]
) -> list[tuple[int, int, int, int]]:
    """Return the tiles of an image, row by row, as (x0, y0, x1, y1) in its pixels.

    Args:
        shape: (h, w) of the image.
        size: (h, w) of a tile; a tile is cut to an image that is smaller.
        overlap: rows and columns that neighbouring tiles share, less than ``size``.
    """
    height, width = shape
    return [
        (x, y, min(x + size[1], width), min(y + size[0], height))
        for y in tile_starts(height, size[0], overlap[0])
        for x in tile_starts(width, size[1], overlap[1])
    ]
