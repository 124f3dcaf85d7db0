"""Balls and kites."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, Sprite
from .textures import smoothstep

_GOLDEN = (1 + 5**0.5) / 2
_ICOSAHEDRON = np.array(
    [p for a in (-1, 1) for b in (-_GOLDEN, _GOLDEN) for p in ((0, a, b), (a, b, 0), (b, 0, a))], np.float32
) / np.float32((1 + _GOLDEN**2) ** 0.5)


def _random_rotation(rng: np.random.Generator) -> np.ndarray:
    """Return (3, 3) float32 rotation, uniform over all directions (Shoemake's quaternions)."""
    u, v, t = rng.random(3)
    a, b = np.sqrt(1 - u), np.sqrt(u)
    x, y, z, w = (
        a * np.sin(2 * np.pi * v),
        a * np.cos(2 * np.pi * v),
        b * np.sin(2 * np.pi * t),
        b * np.cos(2 * np.pi * t),
    )
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ],
        np.float32,
    )


def draw_ball(rng: np.random.Generator, size: float, angle: float = 0.0, variant: int = 0) -> Sprite:
    """Draw a football, basketball or tennis ball.

    Args:
        rng: chooses its turn and its colours.
        size: diameter in pixels.
        angle: unused rotation in degrees: a ball is turned at random in space.
        variant: which of its looks, in turn: a football, a basketball or, where it is small, a tennis ball.
    """
    paint = (_football, _basketball, _tennis if size < 100 else _football, _basketball)[variant % 4]
    canvas = Canvas((-1, -1, 1, 1), size / 2, angle)
    normals = canvas.dome()
    surface = np.stack(normals, -1) @ _random_rotation(rng).T
    pixel = 1.2 / canvas.scale  # one sample, as a distance on the unit ball
    mask = canvas.ellipse(0, 0, 1)
    canvas.paint(mask, paint(rng, surface, pixel))
    canvas.shade(canvas.diffuse(normals, 0.36, 0.86))
    # light thrown back by the ground, and a highlight
    canvas.shade(1 + 0.2 * smoothstep(0.4, 1, normals[1]) * smoothstep(0.9, 0.3, normals[2]))
    canvas.tint(canvas.gloss(normals, 32), (255, 255, 250), 0.16 if paint is _tennis else 0.5)
    return canvas.finish()


def _football(rng: np.random.Generator, surface: np.ndarray, pixel: float) -> np.ndarray:
    """Draw a truncated icosahedron: dark pentagons around the twelve vertices, seams between the white hexagons."""
    dots = np.sort(surface @ _ICOSAHEDRON.T, -1)[..., -3:]
    # coordinates a >= b >= c along the three nearest vertices, whose directions have pairwise cosine s
    s = 5**-0.5
    share = s / (1 + 2 * s) * dots.sum(-1)
    c, b, a = ((dots[..., i] - share) / (1 - s) for i in range(3))
    pentagon = smoothstep(-pixel, pixel, (a - 2 * (b + c)) * 0.45)
    seam = smoothstep(0.03 + pixel, 0.03 - pixel * 0.5, np.minimum(c, np.abs(a - 2 * (b + c)) * 0.4))
    dark = np.array([(26, 26, 30), (28, 44, 96), (150, 30, 34)][rng.choice(3, p=[0.7, 0.2, 0.1])], np.float32)
    ball = np.float32([238, 238, 234]) * (1 - 0.4 * seam[..., None])
    return ball + (dark - ball) * pentagon[..., None]


def _basketball(rng: np.random.Generator, surface: np.ndarray, pixel: float) -> np.ndarray:
    """Draw two great circles and two small ones, dark on pebbled orange."""
    a, b, _ = (surface[..., i] for i in range(3))
    line = np.minimum(np.minimum(np.abs(a), np.abs(b)), np.abs(np.abs(a) - 0.64) * 1.2)
    seam = smoothstep(0.035 + pixel, 0.035 - pixel * 0.5, line)[..., None]
    leather = np.float32([218, 112, 44]) * np.float32(rng.uniform(0.92, 1.08))
    pebbles = 1 + 0.14 * (rng.random(a.shape, dtype=np.float32)[..., None] - 0.5)
    return leather * pebbles * (1 - 0.84 * seam)


def _tennis(rng: np.random.Generator, surface: np.ndarray, pixel: float) -> np.ndarray:
    """Return the one seam that winds around, white on yellow felt."""
    a, b, c = (surface[..., i] for i in range(3))
    wave = np.abs(a * a - b * b + 0.75 * c) * 0.6
    seam = smoothstep(0.05 + pixel, 0.05 - pixel * 0.5, wave)[..., None]
    felt = np.float32([204, 222, 58]) * (1 + 0.22 * (rng.random(a.shape, dtype=np.float32)[..., None] - 0.5))
    return felt + (np.float32([244, 246, 236]) - felt) * seam


_KITE_COLOURS = np.array(
    [(222, 40, 44), (250, 200, 36), (34, 104, 206), (40, 160, 84), (240, 122, 28), (150, 60, 170), (246, 246, 240)],
    np.float32,
)


def draw_kite(rng: np.random.Generator, size: float, angle: float = 0.0, variant: int = 0) -> Sprite:
    """Draw a diamond kite of four cloths with spars and a tail of bows.

    Args:
        rng: chooses colours, proportions and how the tail waves.
        size: length of the sail in pixels; the tail adds two fifths of it.
        angle: rotation in degrees, clockwise; at 0 the nose is up.
        variant: which of its looks, in turn: four colours or two.
    """
    canvas = Canvas((-1.0, -1.05, 1.0, 1.95), size / 2, angle)
    wide, cross = rng.uniform(0.66, 0.8), rng.uniform(-0.42, -0.25)
    top, right, bottom, left, middle = (0, -1), (wide, cross), (0, 1), (-wide, cross), (0, cross)

    swing, phase = rng.uniform(0.1, 0.2) * rng.choice((-1, 1)), rng.uniform(0, 1)
    t = np.linspace(0, 1, 30)
    tail = np.column_stack(
        [
            swing * (np.sin((t * 1.25 + phase) * 2 * np.pi) - np.sin(phase * 2 * np.pi)) * np.minimum(t * 3, 1),
            0.96 + 0.86 * t,
        ]
    )
    first, second, third, fourth = _KITE_COLOURS[rng.permutation(len(_KITE_COLOURS))[:4]]
    canvas.paint(canvas.strokes(tail, width=0.055), 0.35 * first + 0.15 * second + 40)
    for i, index in enumerate((9, 18, 27)):
        x, y = tail[index]
        bow = [(x - 0.2, y - 0.11), (x, y), (x - 0.2, y + 0.11)], [(x + 0.2, y - 0.11), (x, y), (x + 0.2, y + 0.11)]
        canvas.paint(canvas.polygons(*bow), (first, second, first)[i])

    if variant % 2:
        third, fourth = first, second
    panels = (
        ((top, right, middle), first),
        ((right, bottom, middle), second),
        ((bottom, left, middle), third),
        ((left, top, middle), fourth),
    )
    canvas.paint(canvas.polygons((top, right, bottom, left)), first)
    for points, colour in panels:
        canvas.tint(canvas.polygons(points), colour)
    sail = canvas.polygons((top, right, bottom, left))
    # cloth bellies out between the spars, and each quarter faces the light differently
    belly = np.sin(np.clip(np.abs(canvas.x) / wide, 0, 1) * np.pi)
    canvas.shade(0.93 + 0.1 * belly * np.sign(canvas.x * -canvas.light[0]) - 0.07 * np.sign(canvas.y - cross), sail)
    canvas.shade(1 + 0.05 * np.sin(canvas.y * 7 + canvas.x * 3), sail)
    canvas.tint(canvas.strokes((top, bottom), (left, right), width=0.035), (60, 46, 34), 0.8)
    canvas.tint(canvas.strokes((top, right, bottom, left, top), width=0.045), (40, 36, 40), 0.55)
    return canvas.finish()
