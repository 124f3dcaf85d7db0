"""Landscapes in four kinds of weather: cloudy, rain, shine and sunrise."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from .textures import blend, grain, noise, relief, smoothstep

Shape = tuple[int, int]


def _down(shape: Shape) -> np.ndarray:
    return np.linspace(0, 1, shape[0], dtype=np.float32)[:, None] + np.zeros((1, shape[1]), np.float32)


def _towards(rng: np.random.Generator, first: tuple, second: tuple) -> np.ndarray:
    """Draw a colour between two."""
    first, second = np.float32(first), np.float32(second)
    return first + (second - first) * np.float32(rng.random())


def _clouds(
    rng: np.random.Generator, air: np.ndarray, cover: float, dark: np.ndarray, bright: np.ndarray, low: bool = False
) -> np.ndarray:
    """Draw clouds over ``air`` (h, w, 3), ``cover`` from -.6 (few) to .8 (no gap), lit from above or from ``low``."""
    shape = air.shape[:2]
    cell = rng.uniform(50, 130)
    puffs = noise(rng, shape, cell, 5, stretch=rng.uniform(1.6, 3.4) if not low else rng.uniform(3, 6)) + np.float32(
        cover
    )
    body = smoothstep(0.0, rng.uniform(0.25, 0.6), puffs)
    step = max(round(cell / 14), 2)
    lit = np.clip(0.5 + 1.9 * relief(puffs, step if low else -step), 0, 1)
    cloud = blend(dark, bright, lit)
    return air + (cloud - air) * (0.93 * body)[..., None]


def _sun(image: np.ndarray, x: float, y: float, radius: float, colour: np.ndarray, glow: float) -> None:
    """Return the sun's disc and its glow, in place; x, y in pixels."""
    h, w = image.shape[:2]
    far = np.hypot(
        np.arange(w, dtype=np.float32)[None] + 0.5 - np.float32(x),
        np.arange(h, dtype=np.float32)[:, None] + 0.5 - np.float32(y),
    )
    halo = glow * (np.exp(-far / (radius * 2.2)) * 0.9 + np.exp(-far / (radius * 8)) * 0.45)
    image += (colour - image) * np.clip(halo, 0, 1)[..., None]
    disc = smoothstep(radius + 1, radius - 1, far)
    image += (colour * np.float32(0.3) + np.float32(220) - image) * disc[
        ..., None
    ]  # beyond white, whatever the exposure


# skies: each gives the picture above the horizon, what light falls on the land, (3,), and how hazy it is -----------
Sky = tuple[np.ndarray, np.ndarray, float]


def _cloudy(rng: np.random.Generator, shape: Shape) -> Sky:
    base = _towards(rng, (150, 160, 172), (196, 202, 208))
    blue = _towards(rng, (96, 138, 190), (150, 176, 206))
    air = blend(blue, base, smoothstep(0, 1, _down(shape)))
    dark, bright = _towards(rng, (104, 110, 120), (158, 162, 168)), _towards(rng, (200, 204, 208), (244, 244, 242))
    image = _clouds(rng, air, rng.uniform(0.22, 0.75), dark, bright)
    if rng.random() < 0.5:
        image = _clouds(rng, image, rng.uniform(-0.1, 0.3), dark * np.float32(0.9), bright)
    return image, _towards(rng, (0.68, 0.72, 0.78), (0.86, 0.86, 0.86)), rng.uniform(0.1, 0.45)


def _rain(rng: np.random.Generator, shape: Shape) -> Sky:
    dark, bright = _towards(rng, (62, 68, 78), (112, 118, 126)), _towards(rng, (130, 136, 144), (182, 186, 190))
    air = blend(dark, bright, _down(shape))
    image = _clouds(rng, air, rng.uniform(0.3, 0.8), dark, bright)
    return image, _towards(rng, (0.42, 0.47, 0.54), (0.66, 0.68, 0.7)), rng.uniform(0.35, 0.75)


def _shine(rng: np.random.Generator, shape: Shape) -> Sky:
    zenith, low = _towards(rng, (20, 84, 186), (76, 148, 222)), _towards(rng, (150, 200, 238), (214, 230, 240))
    image = blend(zenith, low, smoothstep(0, 1, _down(shape)))
    image = _clouds(rng, image, rng.uniform(-0.7, -0.04), np.float32([206, 214, 226]), np.float32([255, 255, 252]))
    h, w = shape
    if rng.random() < 0.62:
        warm = _towards(rng, (255, 250, 226), (255, 240, 190))
        _sun(
            image,
            rng.uniform(-0.05, 1.05) * w,
            rng.uniform(0.02, 0.5) * h,
            rng.uniform(8, 17),
            warm,
            rng.uniform(0.6, 1.1),
        )
    return image, _towards(rng, (1.1, 1.06, 0.94), (1.22, 1.18, 1.08)), rng.uniform(0.0, 0.18)


def _sunrise(rng: np.random.Generator, shape: Shape) -> Sky:
    top = _towards(rng, (34, 48, 96), (120, 140, 186))
    middle = _towards(rng, (206, 102, 96), (232, 160, 130))
    low = _towards(rng, (250, 160, 62), (255, 218, 140))
    down = _down(shape) + 0.08 * (rng.random() - 0.5)
    image = blend(top, middle, smoothstep(0.0, rng.uniform(0.5, 0.8), down))
    image += (low - image) * smoothstep(rng.uniform(0.35, 0.6), 1.0, down)[..., None]
    dark, bright = top * np.float32(0.6) + middle * np.float32(0.25), _towards(rng, (250, 140, 90), (255, 200, 150))
    image = _clouds(rng, image, rng.uniform(-0.55, 0.25), dark, bright, low=True)
    h, w = shape
    height = rng.uniform(0.6, 1.0)
    if rng.random() < 0.75:
        glow = rng.uniform(0.6, 1.1)
        _sun(
            image,
            rng.uniform(0.1, 0.9) * w,
            height * h,
            rng.uniform(9, 20),
            _towards(rng, (255, 190, 80), (255, 232, 160)),
            glow,
        )
    return image, _towards(rng, (0.3, 0.2, 0.22), (0.62, 0.46, 0.42)), rng.uniform(0.05, 0.35)


# land: each paints the picture below the horizon, lit as on a bright day ------------------------------------------
def _fields(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    down = _down(shape)
    depth = 1 / (down + 0.12)
    x = np.arange(shape[1], dtype=np.float32)[None] / shape[1] - np.float32(rng.uniform(0, 1))
    rows = np.sin((x * depth * rng.uniform(14, 30)).astype(np.float32))
    green, crop = _towards(rng, (92, 128, 60), (150, 158, 86)), _towards(rng, (150, 142, 78), (196, 178, 106))
    land = blend(green, crop, smoothstep(0.1, 0.4, noise(rng, shape, 70, 3, stretch=4)))
    return land * (1 + 0.1 * rows * down + 0.14 * noise(rng, shape, 10, 3, stretch=2))[..., None]


def _sea(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    down = _down(shape)
    waves = noise(rng, shape, 8, 3, stretch=6)
    water = blend(_towards(rng, (70, 112, 142), (96, 140, 150)), _towards(rng, (38, 92, 120), (60, 130, 140)), down)
    return water + (34 * smoothstep(0.25, 0.7, waves) * (0.4 + down))[..., None]


def _street(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    h, w = shape
    down = _down(shape)
    x = np.arange(w, dtype=np.float32)[None] / w - np.float32(rng.uniform(0.35, 0.65))
    spread = 0.06 + 0.8 * down
    land = np.float32([166, 158, 148]) * (1 + 0.08 * noise(rng, shape, 12, 3))[..., None]
    road = np.float32([104, 104, 108]) * (1 + 0.08 * noise(rng, shape, 9, 3, stretch=2))[..., None]
    land += (road - land) * smoothstep(0.02, 0.0, np.abs(x) - spread / 2)[..., None]
    dash = (np.sin(14 / (down + 0.2)) > 0) * smoothstep(0.03, 0.02, np.abs(x) / (spread + 0.05))
    return land + (np.float32([230, 228, 218]) - land) * (0.85 * dash)[..., None]


def _skyline(rng: np.random.Generator, image: np.ndarray, horizon: int, light: np.ndarray, haze: float) -> None:
    """Draw hills, trees or houses along the horizon, in place; the far ones take the sky's colour."""
    h, w = image.shape[:2]
    x = np.arange(w)
    mist = image[max(horizon - 6, 0) : horizon].mean((0, 1))
    y = np.arange(h, dtype=np.float32)[:, None]
    for k in range(int(rng.integers(1, 4))):
        kind = rng.choice(['hills', 'trees', 'houses', 'hills'])
        tall = h * rng.uniform(0.05, 0.17)
        if kind == 'houses':
            colour = _towards(rng, (150, 110, 92), (190, 184, 174))
            edges = np.cumsum(rng.uniform(0.05, 0.13, 26) * w)
            line = (tall * rng.uniform(0.3, 1.5, 27))[np.searchsorted(edges, x)].astype(np.float32)
        elif kind == 'trees':
            colour = _towards(rng, (52, 80, 46), (96, 112, 70))
            middles, radii = np.arange(-10, w + 10, tall * 0.45)[:, None], tall * 0.4
            radii = radii * rng.uniform(0.6, 1.3, (len(middles), 1))
            crowns = np.sqrt(np.maximum(radii**2 - (x - middles - rng.normal(0, 3, middles.shape)) ** 2, 0))
            line = (tall * 0.45 + (crowns * 1.3 + radii * 0.5 * (crowns > 0)).max(0)).astype(np.float32)
            line = line + 2.5 * noise(rng, (3, w), 5, 2)[1]
        else:
            colour = _towards(rng, (64, 92, 54), (110, 118, 84))
            line = tall * (0.75 + 0.6 * noise(rng, (3, w), rng.uniform(60, 140), 4)[1])
        cover = smoothstep(0.7, -0.7, (horizon - line)[None] - y) * (y < horizon)
        body = colour * light * (1 + 0.16 * noise(rng, (h, w), 9, 3))[..., None]
        if kind == 'houses':
            pane = ((y - horizon) % 11 < 5) & (x[None] % 9 < 4)
            body = body * (1 - 0.35 * pane)[..., None]
        far = np.float32(haze + 0.35 * (k == 0)) * 0.8
        image += (body + (mist - body) * far - image) * cover[..., None].astype(np.float32)


def _reflect(image: np.ndarray, horizon: int, share: np.ndarray, ripples: np.ndarray) -> None:
    """Mirror what is above the horizon in what is below, as far as ``share`` (h - horizon, w) says, in place."""
    h, w = image.shape[:2]
    depth = np.arange(h - horizon, dtype=np.float32)[:, None]
    rows = np.clip(horizon - 1 - depth * 0.9 + ripples * (2 + 0.16 * depth), 0, horizon - 1)
    columns = np.clip(np.arange(w, dtype=np.float32)[None] + ripples * 2, 0, w - 1)
    seen = cv2.remap(image, columns.astype(np.float32), rows.astype(np.float32), cv2.INTER_LINEAR)
    image[horizon:] += (seen * np.float32(0.86) - image[horizon:]) * share[..., None]


def _fall(rng: np.random.Generator, image: np.ndarray, horizon: int) -> None:
    """Draw rain in the air, splashes on the ground and drops on the lens, in place."""
    h, w = image.shape[:2]
    lean = rng.uniform(-0.3, 0.3)
    for count, length, strength, blur in (
        (rng.integers(160, 420), 11, 0.35, 0.5),
        (rng.integers(30, 110), 26, 0.4, 0.9),
    ):
        streaks = np.zeros((h, w), np.float32)
        for x, y, size in rng.random((int(count), 3)):
            reach = length * (0.5 + size)
            first = (round(x * w * 8), round((y * 1.2 - 0.1) * h * 8))
            last = (first[0] + round(lean * reach * 8), first[1] + round(reach * 8))
            cv2.line(streaks, first, last, 0.4 + 0.6 * size, 1, cv2.LINE_4, 3)
        streaks = cv2.GaussianBlur(streaks, (0, 0), blur)
        image += (np.float32([214, 220, 228]) - image) * (np.float32(strength * rng.uniform(0.5, 1.2)) * streaks)[
            ..., None
        ]
    rings = np.zeros((h, w), np.float32)
    for x, y, size in rng.random((int(rng.integers(10, 60)), 3)):
        row = horizon + 4 + y * (h - horizon)
        wide = (1.5 + 6 * size) * (0.4 + y)
        cv2.ellipse(
            rings, (round(x * w), round(row)), (round(wide) + 1, round(wide * 0.35) + 1), 0, 0, 360, 0.8, 1, cv2.LINE_8
        )
    image += (np.float32([206, 212, 218]) - image) * (0.5 * cv2.GaussianBlur(rings, (0, 0), 0.6))[..., None]
    if rng.random() < 0.35:
        _drops(rng, image, int(rng.integers(8, 40)))


def _drops(rng: np.random.Generator, image: np.ndarray, count: int) -> None:
    """Drop on a pane before the camera, each showing the scene upside down, in place."""
    h, w = image.shape[:2]
    image[:] = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.6, 1.6))
    for x, y, size in rng.random((count, 3)):
        radius = 2.5 + 8 * size**2
        x0, x1 = max(int(x * w - radius), 0), min(int(x * w + radius) + 1, w)
        y0, y1 = max(int(y * h - radius), 0), min(int(y * h + radius) + 1, h)
        if x1 - x0 < 4 or y1 - y0 < 4:
            continue
        gx, gy = np.meshgrid(np.linspace(-1, 1, x1 - x0), np.linspace(-1, 1, y1 - y0))
        far = np.hypot(gx, gy * 0.9).astype(np.float32)
        lens = cv2.resize(image[::-1], (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
        lens = lens * (1.08 - 0.35 * far - 0.12 * gy.astype(np.float32))[..., None]
        lens += (70 * smoothstep(0.3, 0.1, np.hypot(gx + 0.35, gy + 0.4)))[..., None]
        image[y0:y1, x0:x1] += (lens - image[y0:y1, x0:x1]) * smoothstep(1.0, 0.8, far)[..., None]


WEATHER: dict[str, Callable[[np.random.Generator, Shape], Sky]] = {
    'cloudy': _cloudy,
    'rain': _rain,
    'shine': _shine,
    'sunrise': _sunrise,
}


def draw_weather(rng: np.random.Generator, kind: str, shape: Shape) -> np.ndarray:
    """Draw a landscape, (H, W, 3) uint8 RGB.

    Args:
        rng: all choices.
        kind: of :data:`WEATHER`.
        shape: h, w.
    """
    h, w = shape
    horizon = round(h * rng.uniform(0.5, 0.88))
    above, light, haze = WEATHER[kind](rng, (horizon, w))
    image = np.empty((h, w, 3), np.float32)
    image[:horizon] = np.clip(above, 0, 255)
    paint = (_fields, _sea, _street)[rng.integers(3)]
    below = (h - horizon, w)
    mist = image[horizon - 6 : horizon].mean((0, 1))
    ground = paint(rng, below) * light
    fade = np.float32(haze) * smoothstep(0.9, 0.0, _down(below))
    image[horizon:] = ground + (mist - ground) * fade[..., None]
    if paint is not _sea or rng.random() < 0.6:
        _skyline(rng, image, horizon, light, haze)
    if paint is _sea or kind == 'rain':
        share = np.full(below, rng.uniform(0.4, 0.65), np.float32)
        if paint is not _sea:  # puddles
            share *= smoothstep(-0.1, 0.35, noise(rng, below, 40, 3, stretch=4))
        _reflect(image, horizon, share, noise(rng, below, 7, 2, stretch=5))
    if kind == 'rain':
        _fall(rng, image, horizon)
    # the camera: white balance, exposure, contrast
    image *= np.float32(rng.uniform(0.93, 1.07, 3)) * np.float32(rng.uniform(0.82, 1.16))
    image += (image - 120) * np.float32(rng.uniform(-0.12, 0.12))
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.7)) + grain(rng, shape, rng.uniform(2, 7))
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
