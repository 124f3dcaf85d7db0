"""Round bodies seen from a side: tubes for limbs and trunks, shaded and with a map of their surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .canvas import Canvas, Colour


@dataclass
class Tube:
    """A tube drawn on a part of a canvas.

    Attributes:
        canvas: the part.
        mask: (h, w) coverage.
        along: (h, w) 0 at its first end, 1 at its last.
        across: (h, w) -1 to 1 from one silhouette to the other, seen towards its last end 1 is at the left.
        normals: (nx, ny, nz), each (h, w), for shading.
        distance: (h, w) object units from the silhouette, negative inside.
    """

    canvas: Canvas
    mask: np.ndarray
    along: np.ndarray
    across: np.ndarray
    normals: tuple[np.ndarray, np.ndarray, np.ndarray]
    distance: np.ndarray

    def paint(self, colour: Colour, crease: float = 0.3, ambient: float = 0.5, soft: float = 0.02) -> None:
        """Lay the tube over what is drawn, which it first darkens along its rim by ``crease``.

        ``soft`` is how far that reaches, in object units.
        """
        lit = self.canvas.diffuse(self.normals, ambient, 0.68)
        if crease:
            self.canvas.shade(1 - crease * np.clip(1 - self.distance / soft, 0, 1))
        self.canvas.paint(self.mask, np.asarray(colour, np.float32) * lit[..., None])


def tube(
    canvas: Canvas,
    start: Sequence[float] | np.ndarray,
    end: Sequence[float] | np.ndarray,
    profile: Sequence[tuple[float, float]],
    round_ends: bool = True,
) -> Tube:
    """Draw a tube from ``start`` to ``end`` (x, y).

    Args:
        profile: its radius at fractions of its length, (fraction, radius), fractions rising.
        round_ends: it ends in half balls; otherwise it is cut across.
    """
    start, end = np.asarray(start, np.float64)[:2], np.asarray(end, np.float64)[:2]
    fractions, radii = np.array(profile, np.float64).T
    part = canvas.region([start, end], radii.max() + 0.03)
    axis = end - start
    length = max(float(np.hypot(*axis)), 1e-3)
    dx, dy = axis / length
    px, py = part.x - np.float32(start[0]), part.y - np.float32(start[1])
    along = (px * np.float32(dx) + py * np.float32(dy)) / np.float32(length)
    aside = py * np.float32(dx) - px * np.float32(dy)
    inner = np.clip(along, 0, 1)
    radius = np.interp(inner, fractions, radii).astype(np.float32)
    beyond = (along - inner) * np.float32(length)
    if round_ends:
        distance = np.hypot(aside, beyond) - radius
    else:
        distance = np.maximum(np.abs(aside) - radius, np.abs(along - 0.5) * np.float32(length) - np.float32(length / 2))
        beyond = np.zeros_like(beyond)
    ux, uy = aside / radius, beyond / radius
    norm = np.maximum(np.hypot(ux, uy), 1)
    ux, uy = ux / norm, uy / norm
    normals = (-ux * dy + uy * dx, ux * dx + uy * dy, np.sqrt(np.maximum(1 - ux * ux - uy * uy, 0)))
    return Tube(part, part.inside(distance), along, np.clip(ux, -1, 1), normals, distance)
