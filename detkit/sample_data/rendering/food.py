"""Donuts, apples and bananas."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, Sprite, arc
from .textures import blend, noise, smoothstep

_ICINGS = np.array([(238, 130, 168), (92, 50, 30), (246, 240, 228), (122, 190, 226), (250, 202, 90)], np.float32)
_SPRINKLES = np.array([(252, 252, 250), (250, 214, 50), (72, 166, 232), (226, 52, 70), (98, 196, 92)], np.float32)


def draw_donut(rng: np.random.Generator, size: float, angle: float = 0.0, variant: int = 0) -> Sprite:
    """Draw an iced donut with sprinkles; its hole shows what is behind.

    Args:
        rng: chooses sprinkles and slant.
        size: outer diameter in pixels.
        angle: rotation in degrees, clockwise.
        variant: which of its looks, in turn: the icing.
    """
    canvas = Canvas((-1.02, -1.02, 1.02, 1.02), size / 2, angle, (1.0, rng.uniform(0.78, 1.0)))
    radius = np.maximum(np.hypot(canvas.x, canvas.y), 1e-4)
    turn = np.arctan2(canvas.y, canvas.x)
    tube = (radius - 0.645) / 0.355  # -1 at the hole's rim, 1 at the outer rim
    side = np.clip(tube, -1, 1)
    normals = canvas.x / radius * side, canvas.y / radius * side, np.sqrt(1 - side * side)
    dough = blend((196, 128, 62), (236, 188, 118), smoothstep(0.55, 0.95, np.abs(tube)))
    canvas.paint(canvas.inside((np.abs(tube) - 1) * 0.355), dough)
    canvas.shade(canvas.diffuse(normals, 0.42, 0.78) * (1 + 0.05 * noise(rng, radius.shape, 12 * canvas.samples, 3)))

    icing = _ICINGS[variant % len(_ICINGS)]
    phases = rng.uniform(0, 2 * np.pi, 6)
    edge = (
        0.76
        + 0.075 * np.sin(5 * turn + phases[0])
        + 0.055 * np.sin(8 * turn + phases[1])
        + 0.03 * np.sin(13 * turn + phases[2])
    )
    inner = 0.72 + 0.06 * np.sin(4 * turn + phases[3])
    reach = np.where(tube > 0, edge, inner)
    inside = (np.abs(tube) - reach) * 0.355
    cover = canvas.inside(inside)
    canvas.shade(1 - 0.3 * smoothstep(0.06, 0, inside) * (1 - cover))  # the icing's own shadow on the dough
    canvas.tint(cover, icing * canvas.diffuse(normals, 0.55, 0.6)[..., None])
    canvas.shade(1 - 0.16 * smoothstep(-0.07, 0, inside) * cover)  # its rim curves down
    if rng.random() < 0.75:
        places, turns = rng.random((54, 2)), rng.uniform(0, np.pi, 54)
        around, across = places[:, 0] * 2 * np.pi, 0.645 + 0.355 * (places[:, 1] * 1.16 - 0.58)
        centres = np.column_stack([np.cos(around), np.sin(around)]) * across[:, None]
        half = np.column_stack([np.cos(turns), np.sin(turns)]) * 0.05
        colours = np.arange(54) % len(_SPRINKLES)
        lines = np.stack([centres - half, centres + half], 1)
        canvas.shade(1 - 0.35 * canvas.strokes(*(lines + 0.018), width=0.05) * cover)
        for i, colour in enumerate(_SPRINKLES):
            canvas.tint(canvas.strokes(*lines[colours == i], width=0.044), colour)
    else:
        across = np.linspace(-0.95, 0.95, 17)
        drizzle = np.column_stack([across, 0.95 * (np.arange(17) % 2 * 2 - 1)])
        canvas.tint(canvas.strokes(drizzle, width=0.05) * cover, 255 - 0.75 * icing[::-1], 0.9)
    canvas.tint(canvas.gloss(normals, 16) * cover, (255, 255, 255), 0.5)
    return canvas.finish()


def draw_apple(rng: np.random.Generator, size: float, angle: float = 0.0, variant: int = 0) -> Sprite:
    """Draw a red, green or two-coloured apple with stem and leaf.

    Args:
        rng: chooses how it is streaked, stem and leaf.
        size: width in pixels.
        angle: rotation in degrees, clockwise; at 0 the stem is up.
        variant: which of its looks, in turn: two reds and a green.
    """
    canvas = Canvas((-1.05, -1.4, 1.05, 1.1), size / 2, angle)
    turn = np.linspace(0, 2 * np.pi, 120, endpoint=False)  # from the top, clockwise
    from_top = np.minimum(turn, 2 * np.pi - turn)
    radius = 1 - 0.25 * np.exp(-((from_top / 0.42) ** 2)) - 0.1 * np.exp(-(((np.pi - from_top) / 0.3) ** 2))
    radius -= 0.06 * (from_top / np.pi) ** 2
    body = np.column_stack([np.sin(turn) * radius, -np.cos(turn) * radius * 0.94])
    body[:, 0] *= 1 - 0.1 * np.clip(body[:, 1], 0, 1)
    mask = canvas.polygons(body)

    skin = np.array([(186, 20, 30), (200, 36, 34), (124, 172, 46)][variant % 3], np.float32)
    other = np.array([(236, 190, 70), (176, 190, 70)][rng.integers(2)], np.float32)
    around = np.arctan2(canvas.x, canvas.y + 0.72)
    streaks = np.sin(around * 23 + 2 * np.sin(around * 7)) * 0.5 + 0.5
    reach = np.hypot(canvas.x, canvas.y + 0.72)
    pale = smoothstep(rng.uniform(0.5, 1.0), 0.1, reach) * (0.55 + 0.45 * streaks)
    speckle = noise(rng, canvas.x.shape, 5 * canvas.samples, 2)
    pale = np.clip(pale + 0.2 * smoothstep(0.55, 0.8, speckle) * smoothstep(0.2, 0.6, reach), 0, 1)
    canvas.paint(mask, blend(skin * (0.9 + 0.1 * streaks[..., None]), other, pale * 0.75))
    normals = canvas.dome(0, 0, 1.04, 1.0)
    canvas.shade(canvas.diffuse(normals, 0.36, 0.86))
    canvas.shade(1 - 0.55 * smoothstep(1, 0.2, np.hypot(canvas.x / 0.36, (canvas.y + 0.78) / 0.15)))
    canvas.tint(canvas.gloss(normals, 32) * mask, (255, 252, 244), 0.65)

    bend = rng.uniform(-0.2, 0.2)
    stem = [(0, -0.76), (0.4 * bend, -1.02), (bend, -1.24)]
    canvas.paint(canvas.strokes(stem, width=0.1), (84, 56, 32))
    if rng.random() < 0.75:
        flip = rng.choice((-1, 1))
        leaf = np.vstack([arc(0.36, -0.86, 0.42, 0.32, 205, 335, 12), arc(0.36, -1.24, 0.42, 0.32, 25, 155, 12)])
        leaf = leaf * (flip, 1) + (0.1 * bend, -0.02)
        canvas.paint(canvas.polygons(leaf), (70, 134, 44))
        canvas.tint(canvas.strokes([leaf[0], leaf[12]], width=0.03), (150, 196, 96), 0.8)
    return canvas.finish()


def draw_banana(rng: np.random.Generator, size: float, angle: float = 0.0, variant: int = 0) -> Sprite:
    """Draw a banana with ridges, brown ends and freckles.

    Args:
        rng: chooses bend, side and freckles.
        size: length in pixels.
        angle: rotation in degrees, clockwise; at 0 it lies like a smile.
        variant: which of its looks, in turn: how ripe.
    """
    canvas = Canvas((-1.05, -0.55, 1.05, 0.75), size / 2, angle, (rng.choice((-1.0, 1.0)), 1.0))
    bend = rng.uniform(0.92, 1.1)  # radius of the spine's circle
    half = np.arcsin(min(0.9 / bend, 0.95))
    cy = 0.26 - bend
    t = np.linspace(-1, 1, 48)
    thick = 0.245 * np.sqrt(np.maximum(1 - np.abs(t) ** 3.2, 0)) + 0.045
    thick[t > 0.84] = np.minimum(thick[t > 0.84], 0.075 + 0.9 * (0.9 - np.minimum(t[t > 0.84], 0.9)))
    turn = t * half
    spine = np.column_stack([np.sin(turn), np.cos(turn)])
    outline = np.vstack([spine * (bend + thick * 0.95)[:, None], (spine * (bend - thick * 0.8)[:, None])[::-1]]) + (
        0,
        cy,
    )
    mask = canvas.polygons(outline)
    ripe = np.array([(246, 208, 50), (232, 200, 60), (214, 206, 78)][variant % 3], np.float32)

    where = np.arctan2(canvas.x, canvas.y - cy) / half  # -1 .. 1 along
    across = (np.hypot(canvas.x, canvas.y - cy) - bend) / np.maximum(np.interp(where, t, thick), 0.05).astype(
        np.float32
    )
    freckles = smoothstep(0.5, 0.75, noise(rng, where.shape, 7 * canvas.samples, 3))
    canvas.paint(mask, blend(ripe, (120, 76, 30), 0.45 * freckles * smoothstep(1.0, 0.5, np.abs(where))))
    canvas.tint(mask * smoothstep(0.7, 0.92, where), (158, 166, 66), 0.7)
    # three faces meet in ridges, each with its own light
    lit = (
        1.04
        - 0.2 * smoothstep(0.1, 0.28, across)
        - 0.2 * smoothstep(0.5, 1.0, across)
        - 0.12 * smoothstep(-0.35, -0.5, across)
    )
    canvas.shade(lit)
    canvas.tint(mask * smoothstep(0.07, 0, np.abs(across - 0.14)), (255, 244, 160), 0.45)
    canvas.tint(mask * smoothstep(-0.93, -0.985, where), (60, 44, 26), 0.9)
    canvas.tint(mask * smoothstep(0.94, 0.985, where), (92, 74, 34), 0.9)
    return canvas.finish()
