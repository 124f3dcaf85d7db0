"""A small painter: shapes, shading and strokes in an object's own coordinates, antialiased by supersampling."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

Colour = Sequence[float] | np.ndarray  # RGB 0-255, one (3,) or one a pixel (H, W, 3)

_SHIFT = 4  # OpenCV's fixed-point bits: vertices are placed to a sixteenth of a pixel
_RIM = 4  # pixels around a shape that hold its edge, stretched or not
LIGHT = (-0.45, -0.62, 0.64)  # from the upper left and the viewer, in image axes (x right, y down, z to the viewer)


@dataclass
class Sprite:
    """A drawn object.

    Attributes:
        rgb: (H, W, 3) float32, 0-255, premultiplied by alpha.
        alpha: (H, W) float32, 0-1.
        matrix: (2, 3) float64, object coordinates to the sprite's continuous pixel coordinates.
    """

    rgb: np.ndarray
    alpha: np.ndarray
    matrix: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        return self.alpha.shape

    def bounds(self) -> tuple[int, int, int, int]:
        """Return x0, y0, x1, y1 of the pixels that are more than half covered (of the whole sprite, when none is)."""
        ys, xs = np.nonzero(self.alpha > 0.5)
        if not len(xs):
            return 0, 0, self.alpha.shape[1], self.alpha.shape[0]
        return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


class Canvas:
    """Draw one object.

    Args:
        bounds: x0, y0, x1, y1 of the drawing in object coordinates (y down).
        scale: pixels of the finished sprite per object unit.
        angle: rotation in degrees, clockwise on the screen.
        stretch: factors of x and y before the rotation, for things seen at a slant.

    Attributes:
        x, y: (h, w) float32, object coordinates of the supersampled pixels' centres.
        light: direction to the light in object axes, so that shading doesn't turn with the object.
    """

    def __init__(
        self,
        bounds: tuple[float, float, float, float],
        scale: float,
        angle: float = 0.0,
        stretch: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        x0, y0, x1, y1 = bounds
        self.samples = 3 if scale * max(x1 - x0, y1 - y0) < 170 else 2
        cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
        linear = np.array([[cos, -sin], [sin, cos]]) @ np.diag(stretch) * (scale * self.samples)
        corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]) @ linear.T
        low = corners.min(0) - self.samples
        size_wh = np.ceil((corners.max(0) + self.samples - low) / self.samples).astype(int) * self.samples
        self.scale = scale * self.samples
        self.matrix = np.column_stack([linear, -low])
        inverse = np.linalg.inv(linear)
        px = np.arange(size_wh[0], dtype=np.float32)[None] + np.float32(0.5 + low[0])
        py = np.arange(size_wh[1], dtype=np.float32)[:, None] + np.float32(0.5 + low[1])
        self.x = np.float32(inverse[0, 0]) * px + np.float32(inverse[0, 1]) * py
        self.y = np.float32(inverse[1, 0]) * px + np.float32(inverse[1, 1]) * py
        self.rgb = np.zeros((*self.x.shape, 3), np.float32)
        self.alpha = np.zeros(self.x.shape, np.float32)
        self.light = (cos * LIGHT[0] + sin * LIGHT[1], -sin * LIGHT[0] + cos * LIGHT[1], LIGHT[2])

    def region(self, points: np.ndarray | Sequence[Sequence[float]], margin: float) -> Canvas:
        """Return the part of this canvas around ``points`` (K, 2): what is drawn there is drawn here, at less cost.

        ``margin`` is in object units; a part outside the canvas is empty.
        """
        where = self._around(points, margin)
        part = copy.copy(self)
        part.x, part.y, part.rgb, part.alpha = (field[where] for field in (self.x, self.y, self.rgb, self.alpha))
        part.matrix = self.matrix - [[0, 0, where[1].start], [0, 0, where[0].start]]
        return part

    def _around(self, points: np.ndarray | Sequence[Sequence[float]], margin: float) -> tuple[slice, slice]:
        """Return the rows and columns around ``points`` (K, 2), ``margin`` object units further."""
        pixels = np.asarray(points, np.float64) @ self.matrix[:, :2].T + self.matrix[:, 2]
        h, w = self.alpha.shape
        x0, y0 = np.clip(np.floor(pixels.min(0) - margin * self.scale).astype(int), 0, (w, h))
        x1, y1 = np.clip(np.ceil(pixels.max(0) + margin * self.scale).astype(int), 0, (w, h))
        return slice(y0, y1), slice(x0, x1)

    # masks -------------------------------------------------------------------------------------------------------
    def inside(self, distance: np.ndarray) -> np.ndarray:
        """Return the coverage of the area where a signed distance in object units is negative."""
        return np.clip(0.5 - distance * self.scale, 0, 1)

    def ellipse(self, cx: float, cy: float, rx: float, ry: float | None = None) -> np.ndarray:
        """Return the coverage of an axis-aligned ellipse."""
        ry = rx if ry is None else ry
        grown = 1 + 1 / (min(rx, ry) * self.scale)  # half a pixel of the short axis is more along the long one
        where = self._around(_corners(cx, cy, rx * grown, ry * grown), _RIM / self.scale)
        distance = (np.hypot((self.x[where] - cx) / rx, (self.y[where] - cy) / ry) - 1) * min(rx, ry)
        return self._placed(self.inside(distance), where)

    def box(self, cx: float, cy: float, half_w: float, half_h: float, radius: float = 0.0) -> np.ndarray:
        """Return the coverage of a rectangle with rounded corners."""
        where = self._around(_corners(cx, cy, half_w, half_h), _RIM / self.scale)
        dx = np.abs(self.x[where] - cx) - (half_w - radius)
        dy = np.abs(self.y[where] - cy) - (half_h - radius)
        outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0)) + np.minimum(np.maximum(dx, dy), 0)
        return self._placed(self.inside(outside - radius), where)

    def _placed(self, coverage: np.ndarray, where: tuple[slice, slice]) -> np.ndarray:
        """Return the coverage of the whole canvas from that of the rows and columns ``where`` it is not 0."""
        whole = np.zeros(self.x.shape, coverage.dtype)
        whole[where] = coverage
        return whole

    def polygons(self, *polygons: np.ndarray | Sequence[Sequence[float]]) -> np.ndarray:
        """Return the coverage of the union of polygons, each (K, 2) object coordinates."""
        mask = np.zeros(self.x.shape, np.uint8)
        for polygon in polygons:
            cv2.fillPoly(mask, [self._fixed(polygon)], 255, cv2.LINE_AA, _SHIFT)
        return mask.astype(np.float32) / 255

    def strokes(self, *lines: np.ndarray | Sequence[Sequence[float]], width: float) -> np.ndarray:
        """Return the coverage of lines with round ends, each (K, 2) object coordinates; ``width`` in object units."""
        mask = np.zeros(self.x.shape, np.uint8)
        thickness = max(1, round(width * self.scale))
        for line in lines:
            cv2.polylines(mask, [self._fixed(line)], False, 255, thickness, cv2.LINE_AA, _SHIFT)
        return mask.astype(np.float32) / 255

    def _fixed(self, points: np.ndarray | Sequence[Sequence[float]]) -> np.ndarray:
        pixels = np.asarray(points, np.float64) @ self.matrix[:, :2].T + self.matrix[:, 2]
        return np.rint((pixels - 0.5) * (1 << _SHIFT)).astype(np.int32)

    # painting ----------------------------------------------------------------------------------------------------
    def paint(self, mask: np.ndarray, colour: Colour, opacity: float = 1.0) -> None:
        """Lay ``colour`` over what is drawn; the silhouette grows by ``mask`` (h, w)."""
        where, colour = _covered(mask), np.asarray(colour, np.float32)
        cover, rgb, alpha = mask[where] * np.float32(opacity), self.rgb[where], self.alpha[where]
        rgb += cover[..., None] * ((colour if colour.ndim == 1 else colour[where]) - rgb)
        alpha += cover * (1 - alpha)

    def tint(self, mask: np.ndarray, colour: Colour, opacity: float = 1.0) -> None:
        """Lay ``colour`` over what is drawn, inside the silhouette alone."""
        where, colour = _covered(mask), np.asarray(colour, np.float32)
        cover, rgb = (mask[where] * np.float32(opacity))[..., None], self.rgb[where]
        rgb += cover * ((colour if colour.ndim == 1 else colour[where]) * self.alpha[where][..., None] - rgb)

    def shade(self, factor: np.ndarray | float, mask: np.ndarray | None = None) -> None:
        """Multiply what is drawn by ``factor`` (h, w), where ``mask`` says."""
        field = np.asarray(factor, np.float32)
        self.rgb *= (field if mask is None else 1 + mask * (field - 1))[..., None]

    # light -------------------------------------------------------------------------------------------------------
    def dome(self, cx: float = 0.0, cy: float = 0.0, rx: float = 1.0, ry: float | None = None) -> tuple:
        """Return normals (nx, ny, nz), each (h, w), of an ellipsoid bulging to the viewer; at its rim they lie flat."""
        nx, ny = (self.x - cx) / rx, (self.y - cy) / (rx if ry is None else ry)
        length = np.maximum(np.hypot(nx, ny), 1)
        nx, ny = nx / length, ny / length
        return nx, ny, np.sqrt(np.maximum(1 - nx * nx - ny * ny, 0))

    def diffuse(self, normals: tuple, ambient: float = 0.45, strength: float = 0.75) -> np.ndarray:
        """Return Lambert's shading, about 1 where lit."""
        nx, ny, nz = normals
        lambert = np.maximum(nx * self.light[0] + ny * self.light[1] + nz * self.light[2], 0)
        return ambient + strength * lambert

    def gloss(self, normals: tuple, sharpness: int = 32) -> np.ndarray:
        """Return Blinn's highlight, 0-1; ``sharpness`` is a power of two."""
        half = np.array([self.light[0], self.light[1], self.light[2] + 1])
        half /= np.sqrt((half * half).sum())
        shine = np.maximum(normals[0] * half[0] + normals[1] * half[1] + normals[2] * half[2], 0)
        for _ in range(sharpness.bit_length() - 1):
            shine = shine * shine
        return shine

    def finish(self) -> Sprite:
        """Return the drawing at its final size."""
        size_wh = (self.x.shape[1] // self.samples, self.x.shape[0] // self.samples)
        lit = np.clip(self.rgb, 0, 255 * self.alpha[..., None])  # highlights saturate
        rgb = cv2.resize(lit, size_wh, interpolation=cv2.INTER_AREA)
        alpha = cv2.resize(self.alpha, size_wh, interpolation=cv2.INTER_AREA)
        return Sprite(rgb, alpha, self.matrix / self.samples)


def _corners(cx: float, cy: float, half_w: float, half_h: float) -> list[tuple[float, float]]:
    return [(cx + x * half_w, cy + y * half_h) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]


def _covered(mask: np.ndarray) -> tuple[slice, slice]:
    """Return the rows and columns of (h, w) ``mask`` outside of which it is 0."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return slice(0), slice(0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def arc(cx: float, cy: float, rx: float, ry: float, start: float, stop: float, count: int = 24) -> np.ndarray:
    """Return (count, 2) points of an elliptic arc from ``start`` to ``stop`` degrees, clockwise from +x."""
    turn = np.deg2rad(np.linspace(start, stop, count))
    return np.column_stack([cx + rx * np.cos(turn), cy + ry * np.sin(turn)])
