"""Ships, planes and helicopters from above. Each heads along its own x axis and is one unit long."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, Sprite, arc
from .solids import tube
from .textures import noise, smoothstep

_WHITE, _DARK = np.float32([240, 240, 236]), np.float32([42, 48, 58])
_BOXES = ((188, 62, 50), (52, 98, 150), (222, 160, 50), (72, 124, 84), (180, 180, 176), (128, 74, 56), (232, 228, 220))
_LIVERIES = ((196, 40, 46), (30, 84, 160), (26, 128, 96), (240, 150, 30), (92, 60, 140), (60, 66, 78))


def _hull(half: float, bow: float, stern: float, count: int = 14) -> np.ndarray:
    """Return a hull's outline: half width ``half``; the bow tapers over ``bow``, the stern narrows to ``stern``."""
    t = np.linspace(0, 1, count)
    x = np.concatenate([[-0.5, -0.44], 0.5 - bow + bow * t])
    y = np.concatenate([[half * stern, half], half * (1 - t**2.2)])
    side = np.column_stack([x, y])
    return np.vstack([side, side[::-1] * (1, -1)])


def draw_ship(rng: np.random.Generator, size: float, angle: float = 0.0, variant: int = 0) -> Sprite:
    """Draw a container ship, a tanker, a yacht or a motor boat, in turn.

    Args:
        rng: colours and load.
        size: length in pixels.
        angle: heading in degrees, clockwise on the screen from +x.
        variant: which kind.
    """
    kind = ('cargo', 'yacht', 'tanker', 'boat')[variant % 4]
    half = {'cargo': 0.105, 'tanker': 0.098, 'yacht': 0.15, 'boat': 0.18}[kind]
    canvas = Canvas((-0.53, -half - 0.03, 0.53, half + 0.03), size, angle)
    bow = {'cargo': 0.2, 'tanker': 0.18, 'yacht': 0.62, 'boat': 0.55}[kind]
    outline = _hull(half, bow, 0.8)
    sides = np.float32(_LIVERIES[rng.integers(len(_LIVERIES))]) if kind in ('cargo', 'tanker') else _WHITE
    canvas.paint(canvas.polygons(outline), sides * np.float32(0.82))
    deck = canvas.polygons(outline * (0.975, 0.84))
    if kind == 'cargo':
        canvas.tint(deck, (138, 96, 82))
        _load_boxes(rng, canvas, half)
        _superstructure(canvas, -0.4, half)
    elif kind == 'tanker':
        canvas.tint(deck, (164, 86, 66))
        for y in (-0.025, 0, 0.025):
            canvas.shade(0.6, canvas.box(0.06, y + 0.006, 0.36, 0.004))
            canvas.tint(canvas.box(0.06, y, 0.36, 0.005), (206, 202, 190))
        for x in np.linspace(-0.2, 0.3, 6):
            canvas.tint(canvas.box(x, 0, 0.006, half * 0.78), (198, 190, 176))
            for y in (-0.6, 0.6):
                canvas.tint(canvas.ellipse(x + 0.045, y * half, 0.016), (120, 62, 50))
        _superstructure(canvas, -0.38, half)
    elif kind == 'yacht':
        canvas.tint(deck, (206, 164, 112))
        canvas.shade(1 + 0.1 * np.sign(np.sin(canvas.y * 260)), deck)
        for x, rx, ry, tone in ((-0.06, 0.26, 0.74, 250), (-0.1, 0.17, 0.56, 232), (-0.14, 0.09, 0.4, 252)):
            canvas.shade(0.66, canvas.box(x + 0.014, 0.012, rx, half * ry, 0.04))
            canvas.tint(canvas.box(x, 0, rx, half * ry, 0.04), (tone, tone, tone - 4))
        glass = canvas.box(0.13, 0, 0.045, half * 0.6, 0.03) * (canvas.x > 0.1)
        canvas.tint(glass, _DARK)
        canvas.tint(canvas.box(-0.38, 0, 0.05, half * 0.5, 0.02), (70, 120, 160))
    else:
        canvas.tint(deck, (232, 226, 214))
        canvas.tint(canvas.polygons(outline * (0.62, 0.62) - (0.12, 0)), (168, 116, 74))
        canvas.tint(canvas.box(0.06, 0, 0.035, half * 0.62, 0.02), (60, 84, 104))
        stripe = np.float32(_LIVERIES[rng.integers(len(_LIVERIES))])
        canvas.tint(canvas.polygons([(0.14, -0.03), (0.42, 0), (0.14, 0.03)]), stripe)
        for y in (-0.5, 0.5):
            canvas.tint(canvas.box(-0.1, y * half, 0.04, half * 0.26, 0.02), (244, 240, 232))
        canvas.tint(canvas.box(-0.47, 0, 0.035, 0.045, 0.01), (46, 46, 52))
    canvas.shade(0.9 + 0.14 * smoothstep(half, -half, canvas.y * canvas.light[1] * -1 + canvas.x * 0.05))
    return canvas.finish()


def _superstructure(canvas: Canvas, x: float, half: float) -> None:
    canvas.shade(0.55, canvas.box(x + 0.02, 0.016, 0.05, half * 0.86))
    canvas.tint(canvas.box(x, 0, 0.05, half * 0.86), _WHITE)
    canvas.tint(canvas.box(x + 0.036, 0, 0.008, half * 0.8), _DARK)
    canvas.tint(canvas.box(x - 0.02, 0, 0.02, half * 0.4), (206, 206, 202))
    canvas.tint(canvas.ellipse(x - 0.065, 0, 0.022), (212, 70, 48))
    canvas.tint(canvas.ellipse(x - 0.065, 0, 0.011), (38, 38, 40))


def _load_boxes(rng: np.random.Generator, canvas: Canvas, half: float) -> None:
    """Draw rows of containers."""
    rows = max(round(half * 2 * 0.84 / 0.04), 2)
    step = 2 * half * 0.84 / rows
    for x in np.arange(-0.3, 0.3, 0.082):
        for row in range(rows):
            if rng.random() < 0.12:
                continue
            y = -half * 0.84 + step * (row + 0.5)
            colour = np.float32(_BOXES[rng.integers(len(_BOXES))])
            part = canvas.region([(x, y - step / 2), (x + 0.082, y + step / 2)], 0.01)
            box = part.box(x + 0.041, y, 0.037, step * 0.46)
            part.tint(box, colour * (0.92 + 0.1 * np.sin(part.x * 600))[..., None])
            part.shade(0.62, part.box(x + 0.041, y + step * 0.42, 0.037, step * 0.06))


def draw_wake(rng: np.random.Generator, size: float, angle: float, half: float) -> Sprite:
    """Draw the foam behind and beside a ship of ``size`` pixels and half width ``half`` in lengths, in its axes."""
    canvas = Canvas((-1.5, -0.42, 0.56, 0.42), size, angle)
    back = 0.45 - canvas.x  # lengths behind the bow
    aside = np.abs(canvas.y)
    rough = noise(rng, canvas.x.shape, max(0.05 * canvas.scale, 3), 3)
    arms = smoothstep(0.035, 0.0, np.abs(aside - (0.4 * half + 0.17 * back)) - 0.012 * rough) * smoothstep(
        1.5, 0.1, back
    )
    trail = smoothstep(1.0, 0.2, aside / (half * (0.7 + 0.35 * np.maximum(back - 0.9, 0)))) * (back > 0.7)
    trail = trail * smoothstep(1.95, 0.9, back)
    foam = np.clip((0.7 * arms + 0.8 * trail) * (0.62 + 0.6 * rough), 0, 0.85) * (back > 0)
    canvas.paint(foam, (238, 246, 248))
    return canvas.finish()


def draw_plane(rng: np.random.Generator, size: float, angle: float = 0.0, variant: int = 0) -> Sprite:
    """Draw a jet liner with two or four engines, a propeller plane or a fighter; arguments as of :func:`draw_ship`."""
    kind = ('liner', 'jumbo', 'propeller', 'liner', 'fighter')[variant % 5]
    canvas = Canvas((-0.53, -0.53, 0.53, 0.53), size, angle)
    livery = np.float32(_LIVERIES[rng.integers(len(_LIVERIES))])
    if kind == 'fighter':
        _draw_fighter(rng, canvas)
        return canvas.finish()
    metal = np.float32([222, 225, 228]) if kind != 'propeller' else livery * np.float32(0.3) + np.float32(170)
    if kind == 'propeller':
        wings = [(0.14, 0.05), (0.13, 0.47), (-0.02, 0.47), (-0.06, 0.05)]
        tail = [(-0.38, 0.0), (-0.39, 0.17), (-0.47, 0.17), (-0.49, 0.0)]
        body, engines = ((0, 0.02), (0.3, 0.045), (0.75, 0.06), (1, 0.04)), ()
    else:
        tip = rng.uniform(0.44, 0.49)
        wings = [(0.16, 0.03), (-0.12, tip), (-0.19, tip), (-0.12, 0.2), (-0.11, 0.03)]
        tail = [(-0.36, 0.01), (-0.47, 0.18), (-0.51, 0.18), (-0.47, 0.01)]
        wide = 0.052 if kind == 'jumbo' else 0.046
        body = ((0, 0.012), (0.28, wide), (0.8, wide), (0.93, wide * 0.8), (1, wide * 0.4))
        engines = ((0.08, 0.16), (-0.02, 0.3)) if kind == 'jumbo' else ((0.07, 0.155),)
    for x, y in engines:
        for side in (-1, 1):
            engine = tube(canvas, (x - 0.05, side * y), (x + 0.05, side * y), ((0, 0.016), (1, 0.024)))
            engine.paint((186, 190, 196), 0.2)
            canvas.tint(canvas.ellipse(x + 0.068, side * y, 0.01, 0.018), _DARK)
    for shape in (wings, tail):
        for side in (-1, 1):
            points = np.array(shape) * (1, side)
            canvas.paint(canvas.polygons(points), metal * np.float32(0.9 if side * canvas.light[1] < 0 else 0.78))
    for side in (-1, 1):
        line = [(wings[-2][0] + 0.025, side * 0.06), (wings[-3][0] + 0.02, side * wings[2][1] * 0.92)]
        canvas.shade(0.8, canvas.strokes(line, width=0.007))
        end = np.array(
            [wings[1], wings[2], (wings[2][0] + 0.01, wings[2][1] - 0.05), (wings[1][0] + 0.03, wings[1][1] - 0.05)]
        )
        canvas.tint(canvas.polygons(end * (1, side)), livery)
    fuselage = tube(canvas, (-0.47, 0), (0.46, 0), body)
    fuselage.paint(_WHITE if kind != 'propeller' else livery, 0.35, 0.62)
    canvas.tint(canvas.strokes([(-0.5, 0), (-0.34, 0)], width=0.016), livery * np.float32(0.85))
    canvas.tint(fuselage_band(canvas, -0.46, -0.3, 0.03), livery, 0.9)
    if kind == 'propeller':
        canvas.tint(canvas.box(0.12, 0, 0.055, 0.04, 0.02), (66, 92, 116))
        canvas.paint(canvas.box(0.505, 0, 0.007, 0.13, 0.005), (60, 60, 64))
    else:
        canvas.tint(canvas.box(0.432, 0, 0.016, 0.026, 0.01), _DARK)
        canvas.tint(canvas.box(0.05, 0, 0.3, 0.007), livery, 0.55)
    return canvas.finish()


def fuselage_band(canvas: Canvas, x0: float, x1: float, half: float) -> np.ndarray:
    """Return the coverage of the fuselage from ``x0`` to ``x1``."""
    return canvas.box((x0 + x1) / 2, 0, (x1 - x0) / 2, half, 0.01)


def _draw_fighter(rng: np.random.Generator, canvas: Canvas) -> None:
    grey = np.float32(((128, 136, 144), (112, 118, 96), (150, 152, 150))[rng.integers(3)])
    for side in (-1, 1):
        wing = np.array([(0.2, 0.05), (-0.22, 0.36), (-0.33, 0.36), (-0.3, 0.05)]) * (1, side)
        tail = np.array([(-0.34, 0.03), (-0.46, 0.2), (-0.52, 0.2), (-0.5, 0.03)]) * (1, side)
        light = np.float32(1.0 if side * canvas.light[1] < 0 else 0.84)
        canvas.paint(canvas.polygons(wing), grey * light)
        canvas.paint(canvas.polygons(tail), grey * light * np.float32(0.92))
        canvas.tint(canvas.ellipse(-0.14, side * 0.2, 0.035), (60, 88, 150))
        canvas.tint(canvas.ellipse(-0.14, side * 0.2, 0.018), _WHITE)
    body = tube(canvas, (-0.47, 0), (0.5, 0), ((0, 0.045), (0.3, 0.06), (0.7, 0.048), (1, 0.006)), round_ends=False)
    body.paint(grey, 0.35, 0.6)
    canvas.tint(canvas.ellipse(0.24, 0, 0.085, 0.026), (44, 62, 84))
    canvas.tint(canvas.ellipse(0.26, -0.006, 0.03, 0.008), (190, 210, 226), 0.8)
    for y in (-0.022, 0.022):
        canvas.tint(canvas.ellipse(-0.465, y, 0.018), (48, 44, 44))


def draw_helicopter(rng: np.random.Generator, size: float, angle: float = 0.0, variant: int = 0) -> Sprite:
    """Draw a helicopter with its rotor; arguments as of :func:`draw_ship`."""
    canvas = Canvas((-0.53, -0.4, 0.53, 0.4), size, angle)
    colour = np.float32(((206, 48, 44), (236, 190, 50), (60, 92, 66), (44, 78, 140), (226, 226, 222))[variant % 5])
    boom = tube(canvas, (-0.46, 0), (0.0, 0), ((0, 0.018), (1, 0.05)))
    boom.paint(colour * np.float32(0.9), 0.3)
    canvas.paint(canvas.box(-0.43, 0, 0.025, 0.085, 0.01), colour * np.float32(0.8))
    canvas.paint(canvas.box(-0.495, 0.03, 0.03, 0.008, 0.004), _DARK)
    for y in (-0.115, 0.115):
        canvas.paint(canvas.strokes([(-0.04, y), (0.28, y)], width=0.016), (70, 72, 76))
        for x in (0.04, 0.2):
            canvas.paint(canvas.strokes([(x, 0), (x, y)], width=0.012), (70, 72, 76))
    body = tube(canvas, (0.02, 0), (0.26, 0), ((0, 0.085), (0.6, 0.095), (1, 0.07)))
    body.paint(colour, 0.35, 0.6)
    nose = canvas.ellipse(0.27, 0, 0.07, 0.062)
    canvas.tint(nose, (48, 72, 96))
    canvas.tint(canvas.box(0.27, 0, 0.07, 0.006), colour)
    canvas.tint(canvas.box(0.04, 0, 0.07, 0.035, 0.02), colour * np.float32(0.7))
    disc = canvas.ellipse(0.08, 0, 0.375)
    canvas.paint(disc * 0.16, (206, 210, 214))
    turn = rng.uniform(0, 90)
    for k in range(4):
        way = arc(0.08, 0, 0.37, 0.37, turn + 90 * k, turn + 90 * k + 1, 2)[0]
        canvas.paint(canvas.strokes([(0.08, 0), way], width=0.026), (56, 58, 62))
        canvas.tint(canvas.strokes([(0.08, 0) + (way - (0.08, 0)) * 0.88, way], width=0.026), (226, 196, 60))
    canvas.paint(canvas.ellipse(0.08, 0, 0.028), (96, 98, 102))
    return canvas.finish()
