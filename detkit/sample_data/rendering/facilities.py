"""Structures on the ground, from above: tanks, courts, pools and jetties, roofs and trees."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, Sprite, arc
from .textures import noise, smoothstep

_LINE = np.float32([240, 240, 236])


def draw_tank(rng: np.random.Generator, size: float, angle: float = 0.0, variant: int = 0) -> Sprite:
    """Draw a storage tank.

    Args:
        rng: wear.
        size: diameter in pixels.
        angle: where its stairs are, degrees clockwise.
        variant: its roof, in turn.
    """
    canvas = Canvas((-0.53, -0.53, 0.53, 0.53), size, angle)
    tone = np.float32(((232, 232, 228), (206, 208, 210), (222, 214, 196), (176, 190, 198))[variant % 4])
    canvas.paint(canvas.ellipse(0, 0, 0.5), tone * np.float32(0.72))
    top = canvas.ellipse(0, 0, 0.47)
    dome = canvas.diffuse(canvas.dome(0, 0, 0.8), 0.4, 0.72)
    canvas.tint(top, tone * dome[..., None])
    radius, turn = np.hypot(canvas.x, canvas.y), np.arctan2(canvas.y, canvas.x)
    if variant % 2:  # a floating roof, sunk below its rim
        inner = canvas.ellipse(0, 0, 0.4)
        shade = canvas.x * canvas.light[0] + canvas.y * canvas.light[1]
        canvas.shade(0.95 - 0.55 * smoothstep(0.1, 0.4, shade), inner)
        canvas.shade(0.7, canvas.inside(np.abs(radius - 0.4) - 0.012))
    else:
        canvas.shade(1 - 0.1 * smoothstep(0.97, 1.0, np.cos(turn * 12)) * (radius > 0.07), top)
        canvas.shade(0.8, canvas.inside(np.abs(radius - 0.3) - 0.006))
    canvas.tint(canvas.ellipse(0, 0, 0.045), (150, 150, 146))
    stairs = arc(0, 0, 0.485, 0.485, 0, 64)
    canvas.tint(canvas.strokes(stairs, width=0.03), (236, 196, 60))
    canvas.tint(canvas.strokes([(0.48, 0), (0.06, 0)], width=0.022), (128, 128, 126))
    rust = smoothstep(0.25, 0.8, noise(rng, canvas.x.shape, max(0.2 * canvas.scale, 4), 4))
    canvas.tint(rust, (146, 92, 62), 0.3)
    return canvas.finish()


def _court(rng: np.random.Generator, size: float, angle: float, ratio: float, inner: tuple, outer: tuple) -> Canvas:
    """Draw a painted rectangle, (1, ratio) large, with a border of another colour."""
    canvas = Canvas((-0.53, -ratio / 2 - 0.03, 0.53, ratio / 2 + 0.03), size, angle)
    canvas.paint(canvas.box(0, 0, 0.5, ratio / 2), np.float32(outer))
    canvas.tint(canvas.box(0, 0, 0.4, ratio / 2 - 0.07), np.float32(inner))
    wear = noise(rng, canvas.x.shape, max(0.12 * canvas.scale, 4), 4)
    canvas.shade(1 + 0.07 * wear)
    return canvas


def draw_tennis_court(rng: np.random.Generator, size: float, angle: float = 0.0, variant: int = 0) -> Sprite:
    """Draw a tennis court with its net; ``size`` is its length in pixels, otherwise as :func:`draw_tank`."""
    looks = (
        ((52, 98, 160), (70, 132, 92)),
        ((186, 96, 62), (162, 82, 56)),
        ((62, 128, 84), (160, 84, 66)),
        ((46, 84, 140), (46, 108, 150)),
    )
    canvas = _court(rng, size, angle, 0.54, *looks[variant % 4])
    width, x, y = 0.011, 0.36, 0.166
    single = y * 0.75
    lines = [
        [(-x, -y), (x, -y), (x, y), (-x, y), (-x, -y)],
        [(-x, -single), (x, -single)],
        [(-x, single), (x, single)],
        [(-0.19, -single), (-0.19, single)],
        [(0.19, -single), (0.19, single)],
        [(-0.19, 0), (0.19, 0)],
    ]
    canvas.tint(canvas.strokes(*lines, width=width), _LINE)
    canvas.shade(0.62, canvas.strokes([(0.01, -y - 0.02), (0.01, y + 0.03)], width=0.014))
    canvas.tint(canvas.strokes([(0, -y - 0.025), (0, y + 0.025)], width=0.01), (228, 230, 232))
    return canvas.finish()


def draw_basketball_court(rng: np.random.Generator, size: float, angle: float = 0.0, variant: int = 0) -> Sprite:
    """Draw a basketball court; ``size`` is its length in pixels, otherwise as :func:`draw_tank`."""
    looks = (
        ((208, 150, 92), (142, 62, 48), (142, 62, 48)),
        ((120, 124, 132), (88, 96, 106), (186, 84, 56)),
        ((96, 120, 168), (170, 90, 66), (170, 90, 66)),
    )
    inner, outer, key = looks[variant % 3]
    canvas = _court(rng, size, angle, 0.6, inner, outer)
    x, y = 0.4, 0.23
    lines = [[(-x, -y), (x, -y), (x, y), (-x, y), (-x, -y)], [(0, -y), (0, y)], arc(0, 0, 0.06, 0.06, 0, 360)]
    for side in (-1, 1):
        canvas.tint(canvas.box(side * 0.31, 0, 0.09, 0.075), np.float32(key))
        lines.append([(side * x, -0.075), (side * 0.22, -0.075), (side * 0.22, 0.075), (side * x, 0.075)])
        lines.append(arc(side * 0.22, 0, 0.06, 0.075, 0, 360))
        lines.append(
            arc(side * 0.35, 0, 0.22, 0.2, 90, 270) * (1, 1) if side > 0 else arc(-0.35, 0, 0.22, 0.2, -90, 90)
        )
    canvas.tint(canvas.strokes(*lines, width=0.01), _LINE)
    for side in (-1, 1):
        canvas.shade(0.6, canvas.box(side * 0.4 + 0.012, 0.014, 0.008, 0.04))
        canvas.tint(canvas.box(side * 0.4, 0, 0.008, 0.04), (250, 250, 250))
        canvas.tint(canvas.ellipse(side * 0.375, 0, 0.016), (226, 96, 40))
    return canvas.finish()


def draw_pool(rng: np.random.Generator, size: float, angle: float = 0.0, variant: int = 0) -> Sprite:
    """Draw a swimming pool, with lanes, round ends or bent; ``size`` is its length in pixels, see :func:`draw_tank`."""
    kind = ('plain', 'bent', 'lanes', 'round')[variant % 4]
    half = {'plain': 0.25, 'bent': 0.27, 'lanes': 0.24, 'round': 0.22}[kind]
    canvas = Canvas((-0.54, -0.34, 0.54, 0.34), size, angle)

    def area(inset: float) -> np.ndarray:
        if kind == 'bent':
            ends = [
                canvas.ellipse(-0.26, 0.02, 0.24 - inset, 0.25 - inset),
                canvas.ellipse(0.22, -0.03, 0.28 - inset, 0.23 - inset),
            ]
            return np.maximum(np.maximum(*ends), canvas.box(0, 0.0, 0.22, 0.19 - inset))
        return canvas.box(0, 0, 0.5 - inset, half - inset, half - inset if kind == 'round' else 0.03)

    canvas.paint(area(0.0), (222, 212, 194))
    water = area(0.04)
    ripples = noise(rng, canvas.x.shape, max(0.07 * canvas.scale, 3), 3)
    glint = smoothstep(0.2, 0.0, np.abs(ripples))
    depth = 0.5 + canvas.x[..., None]
    canvas.tint(water, np.float32([84, 204, 226]) - depth * np.float32([44, 62, 34]) + 26 * glint[..., None])
    canvas.shade(0.72, water - water * area(0.06) if kind == 'bent' else water * (1 - area(0.058)))
    if kind == 'lanes':
        for y in np.linspace(-half * 0.6, half * 0.6, 5):
            rope = water * canvas.inside(np.abs(canvas.y - y) - 0.006)
            canvas.tint(rope, np.where(np.sin(canvas.x * 120)[..., None] > 0, (228, 66, 56), (246, 246, 246)))
    else:
        canvas.tint(canvas.box(-0.44, 0, 0.03, 0.05, 0.01), (236, 236, 232))
        canvas.tint(canvas.strokes([(0.3, half - 0.1), (0.3, half - 0.02)], width=0.02), (190, 196, 200))
    return canvas.finish()


def draw_jetty(rng: np.random.Generator, size: float, angle: float = 0.0, variant: int = 0) -> Sprite:
    """Draw a landing stage with fingers to both sides; its land end is at -x, ``size`` its length in pixels."""
    fingers = 3 + variant % 2
    canvas = Canvas((-0.53, -0.33, 0.53, 0.33), size, angle)
    wood = np.float32(((176, 146, 112), (158, 150, 140), (190, 170, 140))[variant % 3])
    boards = (
        0.9 + 0.16 * np.sin(canvas.x * 190) ** 2 + 0.06 * noise(rng, canvas.x.shape, max(0.08 * canvas.scale, 4), 3)
    )
    for x in np.linspace(-0.18, 0.475, fingers):
        canvas.paint(canvas.box(x, 0, 0.024, 0.3), wood * np.float32(0.95))
        canvas.shade(0.9 + 0.12 * np.sin(canvas.y * 190) ** 2, canvas.box(x, 0, 0.024, 0.3))
        for y in (-0.29, 0.29):
            canvas.paint(canvas.ellipse(x, y, 0.018), (92, 74, 58))
    canvas.paint(canvas.box(0, 0, 0.5, 0.055), wood * boards[..., None])
    canvas.shade(0.75, canvas.box(0, 0, 0.5, 0.055) - canvas.box(0, 0, 0.5, 0.045))
    for x in np.linspace(-0.4, 0.42, 5):
        canvas.tint(canvas.ellipse(x, -0.042, 0.01), (60, 58, 56))
        canvas.tint(canvas.box(x + 0.07, 0.03, 0.02, 0.012), (226, 226, 222))
    return canvas.finish()


def draw_roof(rng: np.random.Generator, size: float, angle: float = 0.0, variant: int = 0) -> Sprite:
    """Draw a hipped roof with tiles and a chimney, or a flat one."""
    ratio = rng.uniform(0.55, 0.9)
    canvas = Canvas((-0.53, -ratio / 2 - 0.03, 0.53, ratio / 2 + 0.03), size, angle)
    colours = ((164, 84, 62), (112, 104, 104), (138, 92, 70), (96, 84, 90), (182, 120, 88))
    colour = np.float32(colours[variant % 5])
    area = canvas.box(0, 0, 0.5, ratio / 2)
    canvas.paint(area, colour)
    # each slope is lit as it faces
    ends, sides = np.abs(canvas.x) - 0.5 + ratio / 2, np.abs(canvas.y)
    gable = ends > sides
    light = np.where(gable, np.sign(canvas.x) * canvas.light[0], np.sign(canvas.y) * canvas.light[1])
    rows = np.where(gable, np.abs(canvas.x), np.abs(canvas.y))
    canvas.shade(0.96 + 0.36 * light + 0.07 * np.sin(rows * 140), area)
    canvas.shade(1.2, area * canvas.inside(np.minimum(np.abs(ends - sides), np.where(gable, 9.0, sides)) - 0.006))
    place = (rng.uniform(-0.25, 0.25), rng.choice([-1, 1]) * ratio * 0.2)
    canvas.shade(0.6, canvas.box(place[0] + 0.025, place[1] + 0.03, 0.035, 0.035))
    canvas.tint(canvas.box(*place, 0.032, 0.032), (156, 92, 74))
    canvas.tint(canvas.box(*place, 0.016, 0.016), (44, 40, 40))
    return canvas.finish()


def draw_tree(rng: np.random.Generator, size: float, angle: float = 0.0, variant: int = 0) -> Sprite:
    """Draw a tree's crown."""
    canvas = Canvas((-0.56, -0.56, 0.56, 0.56), size, angle)
    rough = noise(rng, canvas.x.shape, max(0.16 * canvas.scale, 3), 3)
    radius = np.hypot(canvas.x, canvas.y)
    green = np.float32(((66, 104, 50), (84, 118, 48), (52, 90, 56))[variant % 3])
    lit = canvas.diffuse(canvas.dome(0, 0, 0.56), 0.5, 0.7) + 0.3 * rough
    canvas.paint(smoothstep(0.03, -0.03, radius - 0.43 - 0.1 * rough), green * lit[..., None])
    return canvas.finish()
