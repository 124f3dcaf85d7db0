"""A person's head: face, ears and hair, mapped onto a turned ellipsoid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .canvas import Canvas
from .textures import smoothstep

_RX, _RY, _RZ = 0.095, 0.127, 0.109  # half axes in metres
_EYE = np.array([0.4, -0.02, 0.0])
_EYE[2] = np.sqrt(1 - (_EYE**2).sum())
_FEATURES = {'nose': np.array([0.0, 0.22, 1.18]), 'left_eye': _EYE, 'right_eye': _EYE * (-1, 1, 1)}
_EARS = {'left_ear': np.array([1.0, 0.08, -0.06]), 'right_ear': np.array([-1.0, 0.08, -0.06])}


@dataclass(frozen=True)
class Looks:
    """Colours are RGB 0-255.

    Attributes:
        skin: colour.
        hair: colour.
        style: 'short', 'long', 'bun', 'bald' or 'beanie'.
        hat: colour of the beanie.
        mouth: half width of the mouth, 0-1 of the face.
        smile: how far its corners rise.
        beard: there is one.
        glasses: there are some.
    """

    skin: np.ndarray
    hair: np.ndarray
    style: str
    hat: np.ndarray
    mouth: float
    smile: float
    beard: bool
    glasses: bool


class Head:
    """A head at ``centre`` (camera coordinates) turned by ``turn`` (3, 3)."""

    def __init__(self, centre: np.ndarray, turn: np.ndarray, looks: Looks) -> None:
        self.centre, self.turn, self.looks = centre, turn, looks
        down = turn[:2, 1] / np.hypot(*turn[:2, 1])
        # columns: the image's axes across and down the head, and to the viewer
        self.frame = np.array([[down[1], down[0], 0], [-down[0], down[1], 0], [0, 0, 1.0]])
        front = self.frame.T @ turn[:, 2]
        sideways = abs(front[0]) / np.hypot(front[0], front[2])
        self.half = np.array([np.hypot(_RX * np.sqrt(1 - sideways**2), _RZ * sideways), _RY])

    def place(self, direction: np.ndarray) -> np.ndarray:
        """Return camera coordinates of a point of the surface, given in the head's axes on the unit ball."""
        across, down, near = self.frame.T @ self.turn @ direction
        flat = self.frame[:2, :2] @ (np.array([across, down]) * self.half)
        return self.centre + [flat[0], flat[1], near * _RZ]

    def keypoints(self) -> dict[str, tuple[np.ndarray, int]]:
        """Return position (camera coordinates) and COCO visibility of nose, eyes and ears, as far as the head goes."""
        found = {}
        for name, direction in _FEATURES.items():
            near = (self.turn @ direction)[2] / np.sqrt((direction**2).sum())
            found[name] = (self.place(direction), 2 if near > 0.12 else 0)
        for name, direction in _EARS.items():
            covered = self.looks.style in ('long', 'beanie')
            near = (self.turn @ direction)[2]
            found[name] = (self.place(direction), 0 if near < -0.4 else 1 if covered else 2)
        return found

    def draw_ear(self, canvas: Canvas, side: str) -> None:
        direction = _EARS[f'{side}_ear']
        place = self.place(direction * (1.02, 1, 1))
        part = canvas.region([place[:2]], 0.05)
        width = 0.012 + 0.014 * abs((self.turn @ direction)[2])
        ear = part.ellipse(place[0], place[1], width, 0.032)
        part.paint(ear, self.looks.skin * np.float32(0.92))
        part.tint(part.ellipse(place[0], place[1], width * 0.5, 0.018), self.looks.skin * np.float32(0.68))

    def draw(self, canvas: Canvas) -> np.ndarray:
        """Draw head and hair; return the coverage (h, w) on ``canvas.region``'s part around the centre."""
        part = canvas.region([self.centre[:2]], 0.19)
        a, b, ball = self._surface(part, 1.0)
        self._draw_skin(part, a, b, ball)
        if self.looks.style != 'bald':
            self._draw_hair(part)
        return ball

    def _surface(self, part: Canvas, grow: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return coordinates across and down (1 at the rim) and coverage of the head, or of a larger one around it."""
        px, py = part.x - np.float32(self.centre[0]), part.y - np.float32(self.centre[1])
        (ax, bx), (ay, by) = self.frame[:2, :2]
        half = self.half * grow
        a, b = (px * ax + py * ay) / half[0], (px * bx + py * by) / half[1]
        a = a / (1 - np.float32(0.2) * smoothstep(0.15, 1.1, b))  # the jaw is narrower
        a, b = a.astype(np.float32), b.astype(np.float32)
        return a, b, part.inside((np.hypot(a, b) - 1) * np.float32(half.min()))

    def _directions(self, a: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
        """Return points of the unit ball in the head's axes, x, y and z, each (h, w), and the camera's nearness."""
        norm = np.maximum(np.hypot(a, b), 1)
        a, b = a / norm, b / norm
        near = np.sqrt(np.maximum(1 - a * a - b * b, 0))
        back = (self.frame.T @ self.turn).astype(np.float32)
        return [back[0, i] * a + back[1, i] * b + back[2, i] * near for i in range(3)] + [near]

    def _draw_skin(self, part: Canvas, a: np.ndarray, b: np.ndarray, ball: np.ndarray) -> None:
        looks = self.looks
        x, y, z, near = self._directions(a, b)
        flat = self.frame[:2, :2].astype(np.float32)
        lit = part.diffuse((flat[0, 0] * a + flat[0, 1] * b, flat[1, 0] * a + flat[1, 1] * b, near), 0.6, 0.55)
        part.shade(1 - 0.3 * np.clip(1 - (np.hypot(a, b) - 1) * 4, 0, 1))
        part.paint(ball, looks.skin * lit[..., None])
        ahead = ball * (z > 0.05)
        unit = np.float32(_RX)  # one unit of x, y in object units

        def spot(cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
            return ahead * part.inside((np.hypot((x - cx) / rx, (y - cy) / ry) - 1) * unit * min(rx, ry))

        if looks.beard:
            cover = ahead * smoothstep(0.38, 0.5, y) + ball * (z > -0.3) * smoothstep(0.12, 0.3, y) * (np.abs(x) > 0.74)
            part.tint(np.minimum(cover, 1), looks.hair * 0.9, 0.8)
        for side in (-1, 1):
            part.tint(spot(0.5 * side, 0.34, 0.22, 0.17), (226, 110, 96), 0.28)
            part.tint(spot(_EYE[0] * side, _EYE[1], 0.21, 0.125), (250, 248, 244))
            part.tint(spot(_EYE[0] * side, _EYE[1], 0.105, 0.115), (46, 34, 30))
            part.tint(spot((_EYE[0] + 0.02) * side, _EYE[1] - 0.21 + 0.04 * looks.smile, 0.25, 0.055), looks.hair * 0.8)
            if looks.glasses:
                ring = spot(_EYE[0] * side, _EYE[1], 0.31, 0.23) - spot(_EYE[0] * side, _EYE[1], 0.25, 0.17)
                part.tint(np.maximum(ring, 0), (28, 28, 34))
        part.shade(0.72, spot(0, 0.3, 0.19, 0.09))
        part.shade(1.14, spot(0.0, 0.12, 0.08, 0.2))
        bow = y - looks.smile * (x / looks.mouth) ** 2 * -0.12
        lips = ahead * part.inside((np.hypot(x / looks.mouth, (bow - 0.55) / 0.085) - 1) * unit * 0.085)
        part.tint(lips, (176, 62, 62))
        if self.turn[2, 2] > -0.2:  # the nose's tip, which leaves the silhouette in profile
            tip, root = self.place(_FEATURES['nose'])[:2], self.place(np.array([0, 0.02, 1.0]))[:2]
            size = 0.018
            nose = np.maximum(part.strokes([root, tip], width=size), part.ellipse(*tip, size * 0.9, size * 0.75))
            nose *= 1.0 if self.turn[2, 2] < 0.75 else 0.55
            part.paint(nose, looks.skin * np.float32(1.06))
            part.shade(0.75, part.ellipse(tip[0], tip[1] + size * 0.9, size, size * 0.35))

    def _draw_hair(self, part: Canvas) -> None:
        looks = self.looks
        a, b, ball = self._surface(part, 1.09)
        x, y, z, near = self._directions(a, b)
        low = {'short': 0.42, 'long': 1.1, 'bun': 0.5, 'beanie': 0.3}[looks.style]
        temple = -0.12 if looks.style != 'beanie' else -0.2
        line = -0.52 + (low + 0.52) * smoothstep(0.42, -0.25, z) + (temple + 0.1) * smoothstep(0.5, 1.0, np.abs(x))
        if looks.style == 'long':
            line = line + 0.9 * smoothstep(0.72, 0.95, np.abs(x)) * smoothstep(0.6, 0.3, z)
        cover = ball * smoothstep(0.07, -0.07, y - line)
        strands = 0.12 * np.sin(40 * np.arctan2(x, z + 0.15) + 6 * y)
        lit = 0.62 + 0.5 * near * smoothstep(0.9, -0.9, a + b) + strands * (looks.style != 'beanie')
        colour = looks.hat if looks.style == 'beanie' else looks.hair
        if looks.style == 'beanie':
            lit = lit + 0.1 * np.sin(26 * np.arctan2(x, z)) - 0.2 * smoothstep(0.1, 0.0, np.abs(y - line + 0.28))
        part.paint(cover, colour * lit[..., None])
        if looks.style == 'bun':
            place = self.place(np.array([0, -0.92, -0.75]))
            bun = part.ellipse(place[0], place[1], 0.042, 0.038)
            if place[2] < self.centre[2]:
                bun = bun * (1 - ball)
            dome = part.dome(place[0], place[1], 0.042, 0.038)
            part.paint(bun, looks.hair * part.diffuse(dome, 0.55, 0.6)[..., None])

    def draw_long_hair(self, canvas: Canvas) -> None:
        """Draw the hair that hangs behind the neck; behind or before the body, as the head is turned."""
        top, end = self.place(np.array([0, -0.15, -0.45])), self.place(np.array([0, 1.9, -0.85]))
        part = canvas.region([top[:2], end[:2]], 0.16)
        wide = 0.06 + 0.036 * abs(self.turn[0, 0])
        axis = end[:2] - top[:2]
        outline = []
        for t, share in ((0.0, 0.9), (0.3, 1.06), (0.7, 1.1), (1.0, 0.92), (1.08, 0.5)):
            outline.append((*(top[:2] + axis * t), wide * share))
        left = [(x - w, y) for x, y, w in outline]
        right = [(x + w, y) for x, y, w in outline[::-1]]
        mask = part.polygons(np.array(left + right))
        lit = 0.78 + 0.12 * np.sin((part.x - top[0]) * 190) + 0.18 * smoothstep(0.1, -0.1, part.x - top[0])
        part.paint(mask, self.looks.hair * lit[..., None])
