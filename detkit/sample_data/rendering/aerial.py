"""A piece of land or sea from above: its ground, and what is put on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from detkit.utils.rng import keyed_rng

from . import craft, facilities, vehicles
from .canvas import Sprite
from .compose import Placement, compose
from .textures import asphalt, blend, grain, noise, smoothstep

Drawer = Callable[[np.random.Generator, float, float, int], Sprite]

# what is annotated, by DOTA's names
DRAWERS: dict[str, Drawer] = {
    'plane': craft.draw_plane,
    'ship': craft.draw_ship,
    'storage tank': facilities.draw_tank,
    'tennis court': facilities.draw_tennis_court,
    'basketball court': facilities.draw_basketball_court,
    'harbor': facilities.draw_jetty,
    'large vehicle': vehicles.draw_truck,
    'small vehicle': vehicles.draw_car,
    'helicopter': craft.draw_helicopter,
    'swimming pool': facilities.draw_pool,
}
PROPS: dict[str, Drawer] = {'roof': facilities.draw_roof, 'tree': facilities.draw_tree}

_FLAT = ('tennis court', 'basketball court', 'harbor', 'swimming pool')  # they throw no shadow
_ROUND = ('storage tank',)  # their boxes lie straight
_INSIDE = 0.6  # of an object, at least


@dataclass
class SeenObject:
    """``name`` and ``corners`` (4, 2) pixels, clockwise from the front left one; some may lie outside the picture."""

    name: str
    corners: np.ndarray


class Survey:
    """A square picture from above with axes of its own, u along ``angle`` and v a quarter turn clockwise from it.

    Attributes:
        u, v: (size, size) float32, pixels from the picture's centre.
        image: (size, size, 3) float32 RGB 0-255; the ground, to be painted first.
    """

    def __init__(self, rng: np.random.Generator, size: int, angle: float) -> None:
        self.rng, self.size, self.angle = rng, size, angle
        cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
        self.axes = np.array([[cos, -sin], [sin, cos]])
        offset = np.arange(size, dtype=np.float32) + np.float32(0.5 - size / 2)
        self.u = np.float32(cos) * offset[None] + np.float32(sin) * offset[:, None]
        self.v = np.float32(-sin) * offset[None] + np.float32(cos) * offset[:, None]
        self.image = np.zeros((size, size, 3), np.float32)
        self._taken = np.zeros((size, size), bool)
        self._under: list[Placement] = []
        self._placements: list[Placement] = []
        self._names: list[str] = []

    @property
    def shape(self) -> tuple[int, int]:
        return self.size, self.size

    def lay(self, ground: np.ndarray, where: np.ndarray | None = None) -> None:
        """Cover the ground, all of it or as far as ``where`` (h, w), 0-1, says."""
        if where is None:
            self.image[:] = ground
        else:
            self.image += (ground - self.image) * where[..., None].astype(np.float32)

    def line(self, distance: np.ndarray, width: float, colour: tuple, opacity: float = 0.85) -> None:
        """Draw a painted line of ``width`` pixels where ``distance`` (h, w) is 0."""
        cover = np.clip(width / 2 + 0.5 - np.abs(distance), 0, 1)
        self.lay(np.float32(colour), cover * np.float32(opacity))

    def centre(self, u: float, v: float) -> np.ndarray:
        """Return the pixel (x, y) of a point."""
        return self.axes @ (u, v) + self.size / 2

    def anywhere(self, margin: float = 0.0) -> tuple[float, float]:
        """Return (u, v) of a point of the picture, ``margin`` pixels from its border at least."""
        u, v = self.rng.uniform(margin - self.size / 2, self.size / 2 - margin, 2) @ self.axes
        return float(u), float(v)

    def put(self, name: str, u: float, v: float, heading: float, size: float, variant: int | None = None) -> bool:
        """Put something with its centre at (u, v), unless it meets another or too much of it would be outside.

        Args:
            heading: degrees clockwise from u.
            size: length in pixels.
            variant: its look; by default any.
        """
        x, y = self.centre(u, v)
        if not (0 <= x < self.size and 0 <= y < self.size):
            return False
        draw = DRAWERS.get(name) or PROPS[name]
        look, variant = int(self.rng.integers(2**31)), int(self.rng.integers(60)) if variant is None else variant
        sprite = draw(keyed_rng(look), size, self.angle + heading, variant)
        origin = sprite.matrix[:, 2]
        px, py = round(x - origin[0]), round(y - origin[1])
        h, w = sprite.shape
        y0, x0, y1, x1 = max(py, 0), max(px, 0), min(py + h, self.size), min(px + w, self.size)
        solid = sprite.alpha[y0 - py : y1 - py, x0 - px : x1 - px] > 0.3
        if solid.sum() < _INSIDE * (sprite.alpha > 0.3).sum() or (self._taken[y0:y1, x0:x1] & solid).any():
            return False
        self._taken[y0:y1, x0:x1] |= solid
        label = len(self._names) if name in DRAWERS else None
        if label is not None:
            self._names.append(name)
        self._placements.append(Placement(sprite, px, py, label, 'none' if name in _FLAT else 'drop'))
        return True

    def sail(self, u: float, v: float, heading: float, size: float, variant: int) -> bool:
        """Draw a ship under way, with its wake."""
        if not self.put('ship', u, v, heading, size, variant):
            return False
        half = (0.105, 0.15, 0.098, 0.18)[variant % 4]
        wake = craft.draw_wake(self.rng, size, self.angle + heading, half)
        x, y = self.centre(u, v) - wake.matrix[:, 2]
        self._under.append(Placement(wake, round(x), round(y), None, 'none'))
        return True

    def keep_free(self, where: np.ndarray) -> None:
        """Put no further object ``where`` (h, w) bool."""
        self._taken |= where

    def finish(self) -> tuple[np.ndarray, list[SeenObject]]:
        """Return (H, W, 3) uint8 RGB and what is annotated in it."""
        scene = compose(self.image, self._under + self._placements, self.rng, 0.5)
        sprites = {placement.label: placement.sprite for placement in self._placements}
        found = []
        for instance in scene.objects:
            name = self._names[instance.label]
            corners = oriented_corners(sprites[instance.label], straight=name in _ROUND)
            shift = instance.matrix[:, 2] - sprites[instance.label].matrix[:, 2]
            found.append(SeenObject(name, corners + shift))
        return scene.image, found


def oriented_corners(sprite: Sprite, straight: bool = False) -> np.ndarray:
    """Return (4, 2) corners, in the sprite's pixels, of the box along its own axes or the picture's."""
    ys, xs = np.nonzero(sprite.alpha > 0.5)
    linear = sprite.matrix[:, :2] / np.sqrt(abs(np.linalg.det(sprite.matrix[:, :2])))  # in pixels, only turned
    if straight:
        linear = np.eye(2)
    own = np.column_stack([xs + 0.5, ys + 0.5]) @ linear
    margin = 0.5 * max(abs(linear[0, 0]), abs(linear[0, 1]))  # from a pixel's centre to its border
    (x0, y0), (x1, y1) = own.min(0) - margin, own.max(0) + margin
    return np.array([(x1, y0), (x1, y1), (x0, y1), (x0, y0)]) @ linear.T


# grounds ---------------------------------------------------------------------------------------------------------
def water(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Draw water with swell and waves."""
    deep = ((28, 74, 104), (34, 92, 108), (44, 84, 88), (24, 62, 96))[rng.integers(4)]
    swell, waves = noise(rng, shape, 150, 3), noise(rng, shape, 9, 3, stretch=1.8)
    colour = blend(np.float32(deep) * np.float32(0.85), np.float32(deep) * np.float32(1.25), 0.5 + 0.5 * swell)
    return colour + (26 * smoothstep(0.25, 0.8, waves) + 5 * waves)[..., None] + grain(rng, shape, 5)


def turf(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Draw turf."""
    green = ((96, 128, 62), (116, 132, 74), (78, 116, 60), (134, 134, 88))[rng.integers(4)]
    tufts = noise(rng, shape, 14, 4)
    value = 1 + 0.12 * noise(rng, shape, 130, 3) + 0.14 * tufts
    return np.float32(green) * value[..., None] + grain(rng, shape, 12)


def concrete(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Draw concrete."""
    tone = ((172, 170, 164), (150, 150, 148), (186, 180, 168))[rng.integers(3)]
    return asphalt(rng, shape, tone) + grain(rng, shape, 4)


def tar(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Draw tarmac."""
    tone = ((92, 93, 97), (78, 79, 84), (110, 108, 106))[rng.integers(3)]
    return asphalt(rng, shape, tone)
