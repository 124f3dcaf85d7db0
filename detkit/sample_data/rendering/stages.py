"""Places where people stand: a picture of ground under a sky or before a wall."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .scenery import draw_houses, draw_sea, draw_trees, joint_lines, sky
from .textures import asphalt, blend, bricks, grain, lawn, noise, planks, plaster, sand, smoothstep


@dataclass
class Stage:
    """A place.

    Attributes:
        image: (H, W, 3) float32 RGB, 0-255.
        horizon: row at the height of the viewer's eyes; may lie behind a wall.
        ground: first row that somebody can stand on.
    """

    image: np.ndarray
    horizon: float
    ground: float


_SKIES = (((66, 132, 214), (196, 222, 242)), ((96, 120, 176), (246, 196, 150)), ((150, 164, 184), (214, 218, 222)))


def _open_air(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[np.ndarray, int]:
    """Draw a picture with a sky above a horizon."""
    h, w = shape
    horizon = round(h * rng.uniform(0.34, 0.5))
    image = np.zeros((h, w, 3), np.float32)
    image[:horizon] = sky(rng, (horizon, w), *_SKIES[rng.integers(len(_SKIES))], rng.uniform(-0.15, 0.15))
    return image, horizon


def meadow(rng: np.random.Generator, shape: tuple[int, int]) -> Stage:
    """Draw grass before a row of trees."""
    h, w = shape
    image, horizon = _open_air(rng, shape)
    greens = ((88, 140, 52), (104, 126, 52), (70, 118, 60))
    image[horizon:] = lawn(rng, (h - horizon, w), greens[rng.integers(3)], 1.4)
    draw_trees(rng, image, horizon + 2, (58, 104, 52), h * rng.uniform(0.12, 0.24))
    return Stage(image, horizon, horizon + 0.1 * h)


def square(rng: np.random.Generator, shape: tuple[int, int]) -> Stage:
    """Draw a paved square before houses."""
    h, w = shape
    image, horizon = _open_air(rng, shape)
    draw_houses(rng, image, horizon)
    rows = np.linspace(0, 1, h - horizon, dtype=np.float32)[:, None]
    x = np.arange(w, dtype=np.float32)[None] / w - np.float32(rng.uniform(0.2, 0.8))
    depth = 1 / (rows + 0.1)
    along, across = 3.4 * depth + 0 * x, x * depth * 7
    joints = np.minimum(joint_lines(along, 0.04), joint_lines(across, 0.04))
    index = np.floor(along).astype(int) % 64, np.floor(across).astype(int) % 64
    slabs = (0.88 + 0.16 * rng.random((64, 64), dtype=np.float32)[index]) * (0.8 + 0.2 * joints)
    slabs = slabs * (1 + 0.06 * noise(rng, slabs.shape, 8, 3))
    tones = ((176, 170, 162), (160, 150, 136), (150, 156, 164))
    image[horizon:] = np.float32(tones[rng.integers(3)]) * slabs[..., None]
    image[horizon : horizon + 12] *= np.linspace(0.7, 1, 12, dtype=np.float32)[:, None, None]
    return Stage(image, horizon, horizon + 0.1 * h)


def beach(rng: np.random.Generator, shape: tuple[int, int]) -> Stage:
    """Draw sand before the sea."""
    h, w = shape
    image, horizon = _open_air(rng, shape)
    image[horizon:] = sand(rng, (h - horizon, w))
    shore = horizon + round(h * rng.uniform(0.08, 0.16))
    draw_sea(rng, image, horizon, shore)
    return Stage(image, horizon, shore + 0.06 * h)


def yard(rng: np.random.Generator, shape: tuple[int, int]) -> Stage:
    """Draw a wall of bricks over asphalt with a painted line."""
    h, w = shape
    foot = round(h * rng.uniform(0.56, 0.68))
    image = np.empty((h, w, 3), np.float32)
    colours = ((158, 74, 55), (176, 150, 120), (120, 96, 88))
    image[:foot] = bricks(rng, (foot, w), colours[rng.integers(3)], 22)
    image[foot:] = asphalt(rng, (h - foot, w), (118, 118, 120))
    line = foot + round((h - foot) * rng.uniform(0.3, 0.8))
    image[line : line + 6] += (np.float32([226, 222, 206]) - image[line : line + 6]) * np.float32(0.8)
    image[foot - 16 : foot] *= np.linspace(1, 0.62, 16, dtype=np.float32)[:, None, None]
    return Stage(image, foot - h * rng.uniform(0.1, 0.2), foot + 0.05 * h)


def hall(rng: np.random.Generator, shape: tuple[int, int]) -> Stage:
    """Draw a room with a wooden floor, a painted wall and windows."""
    h, w = shape
    foot = round(h * rng.uniform(0.56, 0.7))
    image = np.empty((h, w, 3), np.float32)
    walls = ((206, 190, 160), (172, 190, 178), (170, 184, 206), (214, 206, 200))
    image[:foot] = plaster(rng, (foot, w), walls[rng.integers(4)])
    image[foot:] = planks(rng, (h - foot, w), (178, 130, 84), max((h - foot) // 6, 14))
    top, bottom = round(0.1 * h), round(0.36 * h)
    wide, x = round(0.16 * w), round(w * rng.uniform(0.02, 0.2))
    while x + wide < w:
        pane = image[top:bottom, x : x + wide]
        glow = np.linspace(0, 1, bottom - top)[:, None] + np.zeros((1, wide))
        pane[:] = blend((176, 206, 236), (232, 240, 246), glow)
        for frame in (pane[:5], pane[-5:], pane[:, :5], pane[:, -5:], pane[:, wide // 2 - 2 : wide // 2 + 2]):
            frame[:] = (236, 232, 224)
        image[bottom : bottom + 7, max(x - 5, 0) : x + wide + 5] *= 0.72
        x += round(wide * rng.uniform(1.5, 2.4))
    image[foot - 14 : foot] = np.float32([120, 90, 64])
    image[foot : foot + 10] *= np.linspace(0.7, 1, 10, dtype=np.float32)[:, None, None]
    return Stage(image, foot - h * rng.uniform(0.12, 0.22), foot + 0.05 * h)


def track(rng: np.random.Generator, shape: tuple[int, int]) -> Stage:
    """Draw a red running track before trees."""
    h, w = shape
    image, horizon = _open_air(rng, shape)
    draw_trees(rng, image, horizon, (62, 96, 54), h * rng.uniform(0.1, 0.2))
    rows = np.linspace(0, 1, h - horizon, dtype=np.float32)[:, None] + np.zeros((1, w), np.float32)
    ground = blend((158, 74, 58), (186, 88, 66), rows) * (1 + 0.06 * noise(rng, rows.shape, 14, 4))[..., None]
    edge = smoothstep(0.07, 0.06, rows)
    ground += (blend((84, 122, 60), (96, 140, 66), rows) - ground) * edge[..., None]
    depth = 1 / (rows + 0.08)
    lanes = smoothstep(0.05, 0.02, np.abs(depth - np.rint(depth)) / np.maximum(depth * depth * 0.09, 0.4)) * (depth < 9)
    ground += (np.float32([236, 230, 222]) - ground) * (0.85 * lanes)[..., None]
    image[horizon:] = ground + grain(rng, rows.shape, 8)
    return Stage(image, horizon, horizon + 0.12 * h)


STAGES: tuple[Callable[[np.random.Generator, tuple[int, int]], Stage], ...] = (meadow, square, yard, beach, hall, track)
