"""Parts of a landscape: sky, trees, houses, sea, and cloths on the ground."""

from __future__ import annotations

import cv2
import numpy as np

from .canvas import Colour
from .textures import blend, grain, noise, relief, smoothstep


def sky(
    rng: np.random.Generator, shape: tuple[int, int], zenith: Colour, horizon: Colour, cloudy: float = 0.0
) -> np.ndarray:
    """Draw a sky with clouds lit from above; ``cloudy`` from -.3 (few) to .3 (many)."""
    h, w = shape
    down = np.linspace(0, 1, h, dtype=np.float32)[:, None] + np.zeros((1, w), np.float32)
    air = blend(zenith, horizon, smoothstep(0, 1.0, down))
    puffs = noise(rng, shape, 110, 5, stretch=2.3) + np.float32(cloudy)
    body = smoothstep(0.02, 0.45, puffs)
    lit = np.clip(0.5 + 1.9 * relief(puffs, -9), 0, 1)
    cloud = blend((196, 202, 214), (255, 253, 250), lit)
    return air + (cloud - air) * (0.9 * body)[..., None] + grain(rng, shape, 1.5)


def draw_trees(rng: np.random.Generator, image: np.ndarray, horizon: int, colour: Colour, height: float) -> None:
    """Draw a line of crowns along the horizon, in place."""
    h, w = image.shape[:2]
    crowns = np.zeros((h, w), np.float32)
    light = np.zeros((h, w), np.float32)
    for x in np.arange(-20, w + 20, height * 0.45):
        tall = height * rng.uniform(0.55, 1.1)
        for _ in range(9):
            radius = tall * rng.uniform(0.14, 0.3)
            cx, cy = x + rng.normal(0, tall * 0.3), horizon - tall * rng.uniform(0.15, 0.85)
            centre = (round(cx * 8), round(cy * 8))
            cv2.circle(crowns, centre, round(radius * 8), 1.0, -1, cv2.LINE_8, 3)
            cv2.circle(
                light,
                (centre[0] - round(radius * 2), centre[1] - round(radius * 3)),
                round(radius * 5),
                rng.uniform(0.3, 1),
                -1,
                cv2.LINE_8,
                3,
            )
    crowns[horizon - round(0.4 * height) : horizon] = 1  # a hedge closes the gaps between trunks
    leaves = noise(rng, (h, w), 9, 3)
    crowns = smoothstep(0.35, 0.65, cv2.GaussianBlur(crowns, (0, 0), 2.0) + 0.28 * leaves)
    light = cv2.GaussianBlur(light, (0, 0), 3.0)
    green = np.asarray(colour, np.float32) * (0.62 + 0.5 * light + 0.35 * leaves)[..., None]
    crowns[horizon:] = 0
    image += (green - image) * crowns[..., None]


def draw_houses(rng: np.random.Generator, image: np.ndarray, horizon: int) -> None:
    """Draw house fronts with windows along the horizon, in place."""
    x = -rng.uniform(0, 40)
    w = image.shape[1]
    palette = [(178, 150, 128), (150, 100, 84), (196, 184, 164), (126, 132, 142), (170, 128, 96)]
    while x < w:
        wide, tall = rng.uniform(70, 130), rng.uniform(70, 165)
        x0, x1, top = max(round(x), 0), min(round(x + wide), w), round(horizon - tall)
        if x1 > x0:
            front = np.float32(palette[rng.integers(len(palette))])
            area = image[top:horizon, x0:x1]
            rows, columns = np.mgrid[: area.shape[0], : area.shape[1]].astype(np.float32)
            area[:] = front * (0.95 + 0.08 * noise(rng, area.shape[:2], 16, 3))[..., None]
            fy, fx = (rows - 8) % 26, (columns - 7 + (x0 - x)) % 22
            pane = (fy < 15) & (fx < 11) & (rows > 7) & (rows < area.shape[0] - 14)
            lit = rng.random((16, 16))[(rows // 26).astype(int) % 16, (columns // 22).astype(int) % 16]
            area[pane] = (np.float32([70, 84, 102]) + (lit[..., None] > 0.7) * np.float32([90, 80, 40]))[pane]
            area[(fy < 15) & ((fx == 5) | (fy == 7)) & pane] = 210
            area[:4] *= 0.6
            area[:, -3:] *= 0.75
        x += wide


def draw_sea(rng: np.random.Generator, image: np.ndarray, top: int, shore: int) -> None:
    """Draw water from the horizon to a foamy shore, in place."""
    h, w = image.shape[:2]
    area = image[top : shore + 14]
    rows = np.linspace(0, 1, area.shape[0], dtype=np.float32)[:, None]
    waves = noise(rng, area.shape[:2], 7, 3, stretch=7)
    water = blend((36, 104, 150), (96, 190, 190), rows + 0.12 * waves)
    water += (46 * smoothstep(0.3, 0.7, waves))[..., None]
    edge = (area.shape[0] - 10 + 5 * noise(rng, (1, w), 60, 2, stretch=1.0))[0]
    depth = edge[None] - np.arange(area.shape[0], dtype=np.float32)[:, None]
    wet = smoothstep(-9, -1, depth)[..., None]
    area *= 1 - 0.25 * smoothstep(-14, -4, depth)[..., None]
    foam = smoothstep(7, 2, np.abs(depth - 4) + 3 * noise(rng, area.shape[:2], 8, 2))
    area += (blend(water, (248, 250, 250), foam) - area) * wet


def joint_lines(phase: np.ndarray, width: float) -> np.ndarray:
    """Return (h, w) 0 where ``phase`` is whole, 1 farther than ``width`` from there."""
    return smoothstep(0, width, np.abs(phase - np.rint(phase)))


def lay_cloth(image: np.ndarray, cloth: np.ndarray, corners: list[tuple[float, float]], darkness: float = 0.35) -> None:
    """Lay ``cloth`` (h, w, 3) on the ground, in place, with a shadow; ``corners`` clockwise from the upper left."""
    h, w = cloth.shape[:2]
    size_wh = (image.shape[1], image.shape[0])
    matrix = cv2.getPerspectiveTransform(np.float32([[0, 0], [w, 0], [w, h], [0, h]]), np.float32(corners))
    cover = cv2.warpPerspective(np.ones((h, w), np.float32), matrix, size_wh, flags=cv2.INTER_LINEAR)
    shadow = cv2.GaussianBlur(np.roll(cover, (4, 3), (0, 1)), (0, 0), 3)
    image *= 1 - darkness * shadow[..., None]
    image += (
        cv2.warpPerspective(cloth, matrix, size_wh, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE) - image
    ) * cover[..., None]
