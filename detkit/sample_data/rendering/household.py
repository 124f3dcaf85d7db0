"""Clocks and umbrellas."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, Sprite, arc
from .textures import blend, smoothstep

_NUMERALS = {0: 'XII', 3: 'III', 6: 'VI', 9: 'IX'}
_GLYPHS = {'I': [[(0, -1), (0, 1)]], 'V': [[(-1, -1), (0, 1), (1, -1)]], 'X': [[(-1, -1), (1, 1)], [(1, -1), (-1, 1)]]}
_GLYPH_WIDTHS = {'I': 0.5, 'V': 1.25, 'X': 1.25}


def _numeral(text: str, cx: float, cy: float, height: float) -> list[np.ndarray]:
    """Return the strokes of a Roman number around (cx, cy)."""
    strokes, x = [], -sum(_GLYPH_WIDTHS[c] for c in text) / 2
    for character in text:
        middle = x + _GLYPH_WIDTHS[character] / 2
        for line in _GLYPHS[character]:
            points = np.array(line, float) * (0.42, 0.5) + (middle, 0)
            strokes.append(points * (height * 0.62, height) + (cx, cy))
        x += _GLYPH_WIDTHS[character]
    return strokes


def draw_clock(
    rng: np.random.Generator, size: float, angle: float = 0.0, variant: int = 0, alarm: bool = False
) -> Sprite:
    """Draw a round clock with hands: a wall clock, or an alarm clock with bells and feet.

    Args:
        rng: chooses face and time of day.
        size: diameter of the case in pixels.
        angle: rotation in degrees, clockwise.
        variant: which of its looks, in turn: the rim.
        alarm: with bells and feet.
    """
    canvas = Canvas((-1.02, -1.4, 1.02, 1.26) if alarm else (-1.02, -1.02, 1.02, 1.02), size / 2, angle)
    rims = [(46, 44, 48), (124, 76, 40), (196, 164, 84), (176, 40, 44), (40, 84, 132), (206, 208, 210)]
    rim = np.array(rims[variant % len(rims)], np.float32)
    if alarm:
        _bells_and_feet(canvas, rim)
    distance = np.hypot(canvas.x, canvas.y)
    canvas.paint(canvas.ellipse(0, 0, 1), rim)
    # a ring that bulges: lit on the side of the light, dark on the other, with a bright line along its top
    toward = (canvas.x * canvas.light[0] + canvas.y * canvas.light[1]) / np.maximum(distance, 1e-4)
    slope = np.clip((distance - 0.9) / 0.1, -1, 1)
    ring = canvas.ellipse(0, 0, 1)
    canvas.shade(0.85 + 0.55 * toward * slope + 0.25 * smoothstep(0.5, 0, np.abs(slope)), ring)

    face = np.array([(248, 246, 238), (240, 228, 200), (236, 240, 244)][rng.integers(3)], np.float32)
    inner = canvas.ellipse(0, 0, 0.81)
    canvas.tint(inner, face * (1 - 0.08 * smoothstep(0.2, 0.8, distance))[..., None])
    recess = np.hypot(canvas.x + 0.1 * canvas.light[0], canvas.y + 0.1 * canvas.light[1])
    canvas.shade(1 - 0.34 * smoothstep(0.7, 0.92, recess), inner)  # the rim's shadow on the face

    turns = np.deg2rad(6.0 * np.arange(60))
    out = np.column_stack([np.sin(turns), -np.cos(turns)])
    hours = np.arange(60) % 5 == 0
    ink = (34, 32, 36)
    canvas.tint(canvas.strokes(*np.stack([out[~hours] * 0.74, out[~hours] * 0.77], 1), width=0.018), ink)
    numerals = rng.random() < 0.6
    marked = [i for i in range(12) if not (numerals and i in _NUMERALS)]
    canvas.tint(canvas.strokes(*[np.stack([out[5 * i] * 0.63, out[5 * i] * 0.77]) for i in marked], width=0.05), ink)
    if numerals:
        places = [(text, *(out[5 * hour] * 0.6)) for hour, text in _NUMERALS.items()]
        canvas.tint(canvas.strokes(*[s for text, x, y in places for s in _numeral(text, x, y, 0.26)], width=0.042), ink)

    minutes = rng.integers(0, 720)
    for turn, length, width in ((minutes / 12 / 60, 0.42, 0.085), (minutes % 60 / 60, 0.64, 0.06)):
        tip = np.array([np.sin(turn * 2 * np.pi), -np.cos(turn * 2 * np.pi)])
        hand = [tip * -0.13, tip * length]
        canvas.shade(0.75, canvas.strokes(np.array(hand) + 0.03, width=width) * inner)
        canvas.tint(canvas.strokes(hand, width=width), ink)
    turn = rng.random() * 2 * np.pi
    second = np.array([np.sin(turn), -np.cos(turn)])
    canvas.tint(canvas.strokes([second * -0.2, second * 0.68], width=0.022), (206, 32, 32))
    canvas.tint(canvas.ellipse(0, 0, 0.055), (206, 32, 32))
    # a window mirrored in the glass
    mirror = smoothstep(0.02, 0.0, np.abs(canvas.x * 0.6 + canvas.y * 0.8 + 0.34) - 0.13) * inner
    canvas.tint(mirror, (255, 255, 255), 0.2)
    return canvas.finish()


def _bells_and_feet(canvas: Canvas, colour: np.ndarray) -> None:
    for side in (-1, 1):
        foot = [(0.52 * side, 0.75), (0.74 * side, 1.14)]
        canvas.paint(canvas.strokes(foot, width=0.16), colour * 0.6)
        turn = np.deg2rad(90 + 38 * side)
        bx, by = -np.cos(turn) * 1.0, -np.sin(turn) * 1.0
        start = 270 + 38 * side - 90
        dome = np.vstack([arc(bx, by, 0.4, 0.4, start, start + 180, 20), [(bx, by)]])
        bell = canvas.polygons(dome)
        canvas.paint(bell, (202, 172, 96) if colour.sum() < 420 else colour)
        canvas.shade(canvas.diffuse(canvas.dome(bx, by, 0.44), 0.45, 0.85), bell)
    canvas.paint(canvas.strokes(arc(0, -0.92, 0.3, 0.4, 200, 340, 14), width=0.08), colour * 0.8)


_CLOTHS = [
    ((200, 30, 40), (244, 240, 232)),
    ((34, 70, 150), (34, 70, 150)),
    ((248, 196, 40), (232, 84, 50)),
    ((40, 140, 100), (240, 240, 226)),
    ((120, 50, 140), (160, 90, 180)),
    ((36, 36, 44), (36, 36, 44)),
    ((230, 90, 140), (250, 214, 226)),
    ((30, 150, 190), (248, 248, 244)),
]


def draw_umbrella(rng: np.random.Generator, size: float, angle: float = 0.0, variant: int = 0) -> Sprite:
    """Draw an open umbrella seen from the side, with ribs, shaft and crook.

    Args:
        rng: chooses how its panels are turned.
        size: width of the canopy in pixels.
        angle: rotation in degrees, clockwise; at 0 the tip is up.
        variant: which of its looks, in turn: the cloth.
    """
    canvas = Canvas((-1.03, -0.92, 1.03, 1.12), size / 2, angle)
    tall = rng.uniform(0.66, 0.78)
    wood, steel = (126, 78, 40), (150, 150, 154)
    shaft = canvas.strokes([(0, -0.1), (0, 0.86)], width=0.05)
    canvas.paint(shaft, steel)
    side = rng.choice((-1, 1))
    hook = np.vstack([[(0, 0.66)], arc(0.12 * side, 0.9, 0.12, 0.15, 90 + 90 * side, 90 - 75 * side, 14)])
    canvas.paint(canvas.strokes(hook, width=0.085), wood)
    canvas.shade(1 - 0.3 * smoothstep(-0.01, 0.03, canvas.x), canvas.strokes(hook, [(0, 0), (0, 0.9)], width=0.09))
    canvas.shade(1 - 0.55 * smoothstep(0.45, 0.0, canvas.y))

    height = np.sqrt(np.maximum(1 - (canvas.y / tall) ** 2, 1e-4))  # canopy's half width at this height
    around = np.clip(canvas.x / np.where(canvas.y < 0, height, 1), -1, 1)
    turn = np.arcsin(around) / np.deg2rad(45) + rng.uniform(0.15, 0.85)  # panels are 45 degrees wide
    panel = np.floor(turn)
    within = turn - panel
    rim = 0.13 * np.sqrt(np.maximum(1 - canvas.x**2, 0)) - 0.3 * within * (1 - within) * np.sqrt(
        np.maximum(1.02 - canvas.x**2, 0)
    )
    dome = np.where(canvas.y < 0, (np.hypot(canvas.x, canvas.y / tall) - 1) * tall, np.abs(canvas.x) - 1)
    canopy = canvas.inside(np.maximum(dome, (canvas.y - rim) * 0.9))
    canvas.paint(canvas.strokes([(0, -tall), (0, -tall - 0.12)], width=0.05), steel)
    first, second = (np.array(c, np.float32) for c in _CLOTHS[variant % len(_CLOTHS)])
    cloth = blend(first, second, (panel % 2).astype(np.float32))
    canvas.paint(canopy, cloth)
    normals = canvas.dome(0, 0.15, 1.0, tall + 0.16)
    canvas.shade(canvas.diffuse(normals, 0.5, 0.66), canopy)
    canvas.shade(1.04 - 0.22 * within, canopy)  # each panel sags from its rib
    canvas.tint(
        canopy * smoothstep(0.05, 0.0, np.minimum(within, 1 - within) * np.maximum(height, 0.1)), first * 0.35, 0.6
    )
    canvas.shade(1 - 0.22 * smoothstep(-0.07, 0.0, canvas.y - rim), canopy)
    return canvas.finish()
