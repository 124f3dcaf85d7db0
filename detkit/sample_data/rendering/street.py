"""Stop signs, traffic lights and the posts they stand on."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, Sprite, arc
from .textures import blend, noise, smoothstep


def _octagon(apothem: float) -> np.ndarray:
    turn = np.deg2rad(22.5 + 45 * np.arange(8))
    return np.column_stack([np.cos(turn), np.sin(turn)]) * (apothem / np.cos(np.deg2rad(22.5)))


def _stop_letters() -> list[np.ndarray]:
    """Return the strokes of the word STOP, about (-.72, -.3) to (.72, .3)."""
    s = np.vstack(
        [
            arc(0, -0.145, 0.125, 0.145, -20, -180, 14),
            arc(0, -0.145, 0.125, 0.145, 180, 90, 8)[1:],
            arc(0, 0.145, 0.125, 0.145, -90, 90, 14)[1:],
            arc(0, 0.145, 0.125, 0.145, 90, 160, 8)[1:],
        ]
    )
    o = arc(0, 0, 0.135, 0.29, 0, 360, 30)
    bowl = np.vstack([[(-0.11, -0.29)], arc(-0.01, -0.14, 0.135, 0.15, -90, 90, 14), [(-0.11, 0.01)]])
    return [
        s + (-0.545, 0),
        np.array([(-0.335, -0.29), (-0.035, -0.29)]),
        np.array([(-0.185, -0.29), (-0.185, 0.29)]),
        o + (0.155, 0),
        bowl + (0.54, 0),
        np.array([(0.43, -0.29), (0.43, 0.29)]),
    ]


def draw_stop_sign(rng: np.random.Generator, size: float, angle: float = 0.0, variant: int = 0) -> Sprite:
    """Draw a red octagon with white rim and letters, a little weathered and seen at a slant.

    Args:
        rng: chooses wear and where it glares.
        size: height in pixels.
        angle: rotation in degrees, clockwise.
        variant: which of its looks, in turn: from how far aside it is seen.
    """
    canvas = Canvas((-1.01, -1.01, 1.01, 1.01), size / 2, angle, ((1.0, 0.86, 0.93)[variant % 3], 1.0))
    red = np.float32([196, 28, 36]) * np.float32(rng.uniform(0.9, 1.08))
    canvas.paint(canvas.polygons(_octagon(1.0)), (150, 150, 148))
    canvas.tint(canvas.polygons(_octagon(0.975)), (242, 240, 234))
    canvas.tint(canvas.polygons(_octagon(0.885)), red)
    canvas.tint(canvas.strokes(*_stop_letters(), width=0.095), (246, 244, 240))
    for y in (-0.62, 0.62):
        canvas.shade(0.72, canvas.ellipse(0.015, y + 0.015, 0.06))
        canvas.tint(canvas.ellipse(0, y, 0.05), (190, 190, 188))
    shape = canvas.x.shape
    dirt = smoothstep(0.15, 0.9, noise(rng, shape, 50 * canvas.samples, 4)) * smoothstep(-1.2, 1.2, canvas.y)
    canvas.tint(dirt, (112, 92, 70), 0.3)
    glare = smoothstep(0.5, 0.0, np.abs(canvas.x * 0.8 + canvas.y * 0.6 - rng.uniform(-0.8, 0.3)))
    canvas.shade(0.92 + 0.16 * glare - 0.1 * canvas.y)
    return canvas.finish()


def draw_traffic_light(rng: np.random.Generator, size: float, angle: float = 0.0, variant: int = 0) -> Sprite:
    """Draw a box with three lamps under visors, one of them lit.

    Args:
        rng: chooses the lit lamp.
        size: height in pixels.
        angle: rotation in degrees, clockwise.
        variant: which of its looks, in turn: the housing's colour.
    """
    canvas = Canvas((-0.5, -1.02, 0.5, 1.02), size / 2, angle)
    housing = np.array([(38, 42, 40), (212, 166, 30), (28, 50, 40)][variant % 3], np.float32)
    body = canvas.box(0, 0, 0.45, 1.0, 0.1)
    canvas.paint(body, housing)
    canvas.shade(1.16 - 0.3 * smoothstep(-0.45, 0.45, canvas.x) + 0.25 * smoothstep(-0.38, -0.44, canvas.x))
    for y in (-0.33, 0.33):
        canvas.shade(0.6, canvas.strokes([(-0.43, y), (0.43, y)], width=0.025) * body)
    lit = rng.integers(3)
    colours = np.array([(255, 52, 40), (255, 190, 34), (52, 232, 120)], np.float32)
    for i, y in enumerate((-0.655, 0.0, 0.655)):
        lens = canvas.ellipse(0, y, 0.27)
        canvas.tint(canvas.ellipse(0, y, 0.315), housing * 0.45)
        far = np.hypot(canvas.x, canvas.y - y) / 0.27
        grid = 0.9 + 0.1 * np.sin(canvas.x * 60) * np.sin(canvas.y * 60)
        if i == lit:
            glow = blend((255, 255, 235), colours[i], smoothstep(0.0, 0.75, far))
            canvas.tint(smoothstep(1.75, 0.9, far), colours[i], 0.35)
            canvas.tint(lens, glow * (grid * 0.3 + 0.7)[..., None])
        else:
            canvas.tint(lens, colours[i] * (0.3 * grid)[..., None])
            canvas.tint(
                smoothstep(0.45, 0.1, np.hypot(canvas.x + 0.09, canvas.y - y + 0.02) / 0.27), (255, 255, 255), 0.22
            )
        visor = np.vstack([arc(0, y, 0.335, 0.335, 185, 355, 20), arc(0, y + 0.06, 0.3, 0.27, 352, 188, 20)])
        canvas.tint(canvas.polygons(visor), housing * 0.55)
        canvas.tint(
            canvas.strokes(arc(0, y, 0.33, 0.33, 190, 350, 20), width=0.03), np.minimum(housing * 1.5 + 24, 255), 0.8
        )
    return canvas.finish()


def draw_post(rng: np.random.Generator, width: float, height: float) -> Sprite:
    """Draw a round metal post, upright, ``width`` x ``height`` pixels."""
    canvas = Canvas((0, 0, width, height), 1.0)
    across = canvas.x / width
    metal = (
        np.float32([150, 152, 154]) * (0.5 + 0.75 * np.sin(np.clip(across * 0.9 + 0.2, 0, 1) * np.pi) ** 2)[..., None]
    )
    canvas.paint(canvas.box(width / 2, height / 2, width / 2, height / 2), metal)
    canvas.shade(1 + 0.12 * noise(rng, across.shape, 20, 3))
    return canvas.finish()
