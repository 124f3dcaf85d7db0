"""Cars, trucks and buses from above. Each heads along its own x axis and is one unit long."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, Sprite

_PAINTS = (
    (232, 232, 230),
    (36, 38, 44),
    (152, 156, 162),
    (178, 32, 38),
    (34, 74, 142),
    (92, 96, 104),
    (206, 186, 148),
    (44, 104, 78),
    (232, 176, 40),
    (104, 60, 44),
)
_GLASS = np.float32([40, 52, 66])


def _paint(rng: np.random.Generator) -> np.ndarray:
    return np.clip(np.float32(_PAINTS[rng.integers(len(_PAINTS))]) * rng.uniform(0.9, 1.1), 0, 255)


def _lit(canvas: Canvas, colour: np.ndarray) -> np.ndarray:
    """Return ``colour`` with a sheen to the light's side, (h, w, 3)."""
    sheen = 1 - 0.16 * (canvas.x * canvas.light[0] * -1 + canvas.y * canvas.light[1] * -3)
    return colour * np.clip(sheen, 0.8, 1.2)[..., None]


def draw_car(rng: np.random.Generator, size: float, angle: float = 0.0, variant: int = 0) -> Sprite:
    """Draw a saloon, an estate car, a pick-up or a van.

    Args:
        rng: colours.
        size: length in pixels.
        angle: heading in degrees, clockwise on the screen from +x.
        variant: which kind, in turn.
    """
    kind = ('saloon', 'estate', 'saloon', 'van', 'pick-up')[variant % 5]
    half = 0.225 if kind != 'van' else 0.21
    canvas = Canvas((-0.54, -0.3, 0.54, 0.3), size, angle)
    colour = _paint(rng) if kind != 'van' else np.float32([226, 226, 224])
    for x in (-0.3, 0.31):
        canvas.paint(canvas.box(x, 0, 0.075, half * 1.03, 0.02), (28, 28, 30))
    canvas.paint(canvas.box(0.0, 0, 0.5, half, 0.12), _lit(canvas, colour))
    canvas.shade(0.84, canvas.box(0, 0, 0.5, half, 0.12) - canvas.box(0, 0, 0.47, half * 0.88, 0.1))
    front, back, roof = {
        'saloon': (0.17, -0.3, -0.05),
        'estate': (0.18, -0.42, -0.1),
        'van': (0.34, -0.47, -0.06),
        'pick-up': (0.2, -0.12, 0.06),
    }[kind]
    cabin = canvas.box((front + back) / 2, 0, (front - back) / 2, half * 0.82, 0.07)
    canvas.tint(cabin, _GLASS)
    canvas.tint(cabin * (canvas.y * canvas.light[1] > 0.05), (96, 116, 134), 0.5)
    top = canvas.box(roof, 0, (front - back) / 2 - 0.1, half * 0.68, 0.05)
    canvas.tint(top, _lit(canvas, np.minimum(colour * np.float32(1.08), 255)))
    if kind == 'pick-up':
        canvas.tint(canvas.box(-0.3, 0, 0.17, half * 0.8, 0.02), colour * np.float32(0.5))
        canvas.tint(canvas.box(-0.3, 0, 0.15, half * 0.68, 0.01), (86, 82, 78))
    else:
        canvas.shade(
            0.88,
            canvas.strokes(
                [(0.44, -half * 0.6), (0.24, -half * 0.7)], [(0.44, half * 0.6), (0.24, half * 0.7)], width=0.015
            ),
        )
    for side in (-1, 1):
        canvas.tint(canvas.ellipse(0.475, side * half * 0.68, 0.025, 0.045), (252, 248, 226))
        canvas.tint(canvas.ellipse(-0.48, side * half * 0.7, 0.02, 0.05), (196, 28, 26))
        canvas.paint(canvas.box(front - 0.05, side * half * 1.06, 0.018, 0.025, 0.01), colour * np.float32(0.7))
    return canvas.finish()


def draw_truck(rng: np.random.Generator, size: float, angle: float = 0.0, variant: int = 0) -> Sprite:
    """Draw a lorry with a trailer, a bus or a tank lorry; arguments as of :func:`draw_car`."""
    kind = ('trailer', 'bus', 'trailer', 'tank')[variant % 4]
    half = 0.105 if kind != 'bus' else 0.12
    canvas = Canvas((-0.53, -0.16, 0.53, 0.16), size, angle)
    colour = _paint(rng)
    if kind == 'bus':
        canvas.paint(canvas.box(0, 0, 0.5, half, 0.03), _lit(canvas, colour))
        canvas.tint(canvas.box(0.475, 0, 0.02, half * 0.86, 0.015), _GLASS)
        canvas.tint(
            canvas.box(0, 0, 0.45, half * 0.74, 0.02), np.minimum(colour * np.float32(0.6) + np.float32(98), 255)
        )
        for x, wide in ((-0.3, 0.07), (0.0, 0.045), (0.26, 0.07)):
            canvas.shade(0.7, canvas.box(x + 0.01, 0.008, wide, half * 0.46, 0.012))
            canvas.tint(canvas.box(x, 0, wide, half * 0.46, 0.012), (214, 214, 210))
            canvas.shade(0.86, canvas.box(x, 0, wide * 0.6, half * 0.24))
        return canvas.finish()
    canvas.paint(canvas.box(0.2, 0, 0.28, half * 0.62), (44, 44, 48))  # chassis
    for x in (-0.4, -0.32, 0.24):
        canvas.paint(canvas.box(x, 0, 0.03, half * 1.02, 0.01), (26, 26, 28))
    cab = canvas.box(0.4, 0, 0.1, half * 0.96, 0.025)
    canvas.paint(cab, _lit(canvas, colour))
    canvas.tint(canvas.box(0.465, 0, 0.02, half * 0.8, 0.015), _GLASS)
    canvas.tint(canvas.box(0.37, 0, 0.045, half * 0.7, 0.02), np.minimum(colour * np.float32(1.15), 255))
    for side in (-1, 1):
        canvas.paint(canvas.box(0.44, side * half * 1.12, 0.012, 0.016), (40, 40, 44))
    load = canvas.box(-0.11, 0, 0.39, half, 0.01)
    if kind == 'trailer':
        tone = np.float32(((230, 230, 226), (196, 58, 48), (60, 110, 160), (222, 190, 110))[rng.integers(4)])
        canvas.paint(load, _lit(canvas, tone))
        canvas.shade(0.93 + 0.07 * np.sign(np.sin(canvas.x * 90)), load)
        canvas.shade(0.8, load - canvas.box(-0.11, 0, 0.38, half * 0.86, 0.01))
    else:
        tank = canvas.box(-0.11, 0, 0.39, half, 0.08)
        bulge = 1.1 - 0.5 * (canvas.y / half + 0.25) ** 2
        canvas.paint(tank, np.float32([206, 210, 214]) * np.clip(bulge, 0.45, 1.15)[..., None])
        for x in (-0.35, -0.11, 0.13):
            canvas.shade(0.75, tank * canvas.box(x, 0, 0.008, half))
            canvas.tint(canvas.ellipse(x + 0.06, 0, 0.022), (120, 124, 130))
    return canvas.finish()
