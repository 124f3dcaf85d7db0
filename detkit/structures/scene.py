"""``Scene``: a sample whose geometry is still lazy, an output size and the tiles that will be drawn into it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from detkit.structures.annotations import Annotations


def translation_matrix(x: float, y: float) -> np.ndarray:
    """Return the 3x3 matrix that moves by (x, y)."""
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64)


def scale_matrix(x: float, y: float) -> np.ndarray:
    """Return the 3x3 matrix that scales by (x, y)."""
    return np.diag([x, y, 1.0])


@dataclass(frozen=True)
class Tile:
    """One image of a scene and its position. Never changed in place: images and annotations are shared.

    Coordinates are continuous: pixel j covers [j, j + 1).

    Attributes:
        img: ``(h, w, 3)`` uint8 RGB, upright.
        annotations: the objects, in pixels of ``img``.
        matrix: ``(3, 3)`` float64, pixels of ``img`` -> pixels of the scene.
        clip: (x0, y0, x1, y1) in pixels of ``img``: only what lies inside is drawn, objects are cut there.
        pasted: draw only inside the outlines of the tile's own objects (copy-paste).
        layer: tiles of one layer cover each other in the order of the list; layers are averaged.
        weight: the share of the tile's layer in that average; the same for all tiles of a layer (mixup).
        path: the image's file, by which a store of decoded images knows it.
    """

    img: np.ndarray
    annotations: Annotations
    matrix: np.ndarray
    clip: tuple[float, float, float, float]
    pasted: bool = False
    layer: int = 0
    weight: float = 1.0
    path: str = ''

    @property
    def axis_aligned(self) -> bool:
        """Whether the image's rows and columns stay rows and columns (it may be mirrored)."""
        (_, xy, _), (yx, _, _), (tilt_x, tilt_y, _) = self.matrix.tolist()
        return not (xy or yx or tilt_x or tilt_y)

    def moved(self, matrix: np.ndarray) -> Tile:
        return replace(self, matrix=matrix @ self.matrix)

    def clipped(self, rect: tuple[float, float, float, float]) -> Tile:
        """Cut to ``rect``, given in pixels of the scene.

        Raises:
            ValueError: the tile is turned or sheared, where the rectangle is none in its own pixels.
        """
        if not self.axis_aligned:
            raise ValueError('a scene is cut (mosaic, crop) before its tiles are turned, sheared or tilted')
        (scale_x, _, shift_x), (_, scale_y, shift_y), _ = self.matrix.tolist()
        xs = sorted(((rect[0] - shift_x) / scale_x, (rect[2] - shift_x) / scale_x))
        ys = sorted(((rect[1] - shift_y) / scale_y, (rect[3] - shift_y) / scale_y))
        x0, y0 = max(xs[0], self.clip[0]), max(ys[0], self.clip[1])
        clip = (x0, y0, max(min(xs[1], self.clip[2]), x0), max(min(ys[1], self.clip[3]), y0))
        return replace(self, clip=clip)

    @property
    def empty(self) -> bool:
        return self.clip[2] <= self.clip[0] or self.clip[3] <= self.clip[1]


@dataclass(frozen=True)
class Scene:
    """Tiles in drawing order on a canvas.

    Attributes:
        size: (h, w) of the output in pixels.
        tiles: drawn in this order.
    """

    size: tuple[int, int]
    tiles: tuple[Tile, ...]

    @staticmethod
    def of_image(img: np.ndarray, annotations: Annotations, path: str = '') -> Scene:
        """Return a scene of one unchanged image."""
        h, w = img.shape[:2]
        return Scene((h, w), (Tile(img, annotations, np.eye(3), (0.0, 0.0, float(w), float(h)), path=path),))

    def moved(self, matrix: np.ndarray, size: tuple[int, int] | None = None) -> Scene:
        """Return everything taken through ``matrix`` (3x3, this scene's pixels -> the new one's).

        Args:
            matrix: applied after what the tiles' matrices already do.
            size: the new (h, w), by default the old one. Tiles are not cut to it: what lies outside is not drawn, but
                comes back when a later matrix moves it in.
        """
        return Scene(size or self.size, tuple(tile.moved(matrix) for tile in self.tiles))

    def cropped(self, rect: tuple[int, int, int, int]) -> Scene:
        """Return the part inside ``rect`` (xyxy, whole pixels), whose corner becomes the origin; tiles are cut to it.

        Raises:
            ValueError: see ``Tile.clipped``.
        """
        x0, y0, x1, y1 = rect
        tiles = (tile.clipped(rect) for tile in self.tiles)
        shift = translation_matrix(-x0, -y0)
        return Scene((y1 - y0, x1 - x0), tuple(tile.moved(shift) for tile in tiles if not tile.empty))

    @staticmethod
    def joined(size: tuple[int, int], scenes: Iterable[Scene]) -> Scene:
        """Return the tiles of several scenes, already moved to their positions, on one canvas."""
        return Scene(size, tuple(tile for scene in scenes for tile in scene.tiles))
