"""Places: a background and the zones of it where objects may be."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from .canvas import Colour
from .textures import asphalt, blend, bricks, gingham, grain, lawn, marble, noise, planks, plaster, sand, smoothstep


@dataclass(frozen=True)
class Zone:
    """Where objects may be put.

    Attributes:
        names: the classes that go here.
        area: x0, y0, x1, y1 in pixels, for the object's centre or, with ``base``, its lowest middle point.
        sizes: smallest and largest size in pixels.
        count: how many objects.
        base: objects stand on their lowest point.
        deep: sizes grow from the top of the area to its bottom, as on a plain seen in perspective.
        shadow: as of a placement.
        post: height of a post over its object's size; 0 for none.
        turn: largest rotation in degrees either way.
    """

    names: tuple[str, ...]
    area: tuple[float, float, float, float]
    sizes: tuple[float, float]
    count: int
    base: bool = False
    deep: bool = False
    shadow: str = 'drop'
    post: float = 0.0
    turn: float = 12.0


@dataclass
class Backdrop:
    """``image`` (H, W, 3) float32 RGB 0-255 and its ``zones``, the farthest first."""

    image: np.ndarray
    zones: list[Zone] = field(default_factory=list)


FOOD = ('donut', 'apple', 'banana')
SIGNS = ('stop sign', 'traffic light')


def sky(rng: np.random.Generator, shape: tuple[int, int], zenith: Colour, horizon: Colour, cloudy: float = 0.0) -> np.ndarray:
    """A sky with clouds lit from above; ``cloudy`` from -.3 (few) to .3 (many)."""
    h, w = shape
    down = np.linspace(0, 1, h, dtype=np.float32)[:, None] + np.zeros((1, w), np.float32)
    air = blend(zenith, horizon, smoothstep(0, 1.0, down))
    puffs = noise(rng, shape, 110, 5, stretch=2.3) + np.float32(cloudy)
    body = smoothstep(0.02, 0.45, puffs)
    lit = np.clip(0.5 + 1.9 * (puffs - np.roll(puffs, -9, 0)), 0, 1)
    cloud = blend((196, 202, 214), (255, 253, 250), lit)
    return air + (cloud - air) * (0.9 * body)[..., None] + grain(rng, shape, 1.5)


def _trees(rng: np.random.Generator, image: np.ndarray, horizon: int, colour: Colour, height: float) -> None:
    """A line of crowns along the horizon, in place."""
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
            cv2.circle(light, (centre[0] - round(radius * 2), centre[1] - round(radius * 3)), round(radius * 5), rng.uniform(0.3, 1), -1, cv2.LINE_8, 3)
    leaves = noise(rng, (h, w), 9, 3)
    crowns = smoothstep(0.35, 0.65, cv2.GaussianBlur(crowns, (0, 0), 2.0) + 0.28 * leaves)
    light = cv2.GaussianBlur(light, (0, 0), 3.0)
    green = np.asarray(colour, np.float32) * (0.62 + 0.5 * light + 0.35 * leaves)[..., None]
    crowns[horizon:] = 0
    image += (green - image) * crowns[..., None]


def _houses(rng: np.random.Generator, image: np.ndarray, horizon: int) -> None:
    """House fronts with windows along the horizon, in place."""
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
        x += wide + rng.uniform(-1, 6)


def _sea(rng: np.random.Generator, image: np.ndarray, top: int, shore: int) -> None:
    """Water from the horizon to a foamy shore, in place."""
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


def _lay(image: np.ndarray, cloth: np.ndarray, corners: list[tuple[float, float]], darkness: float = 0.35) -> None:
    """Lay ``cloth`` (h, w, 3) on the ground over four corners, clockwise from the upper left, with a shadow; in place."""
    h, w = cloth.shape[:2]
    size_wh = (image.shape[1], image.shape[0])
    matrix = cv2.getPerspectiveTransform(np.float32([[0, 0], [w, 0], [w, h], [0, h]]), np.float32(corners))
    cover = cv2.warpPerspective(np.ones((h, w), np.float32), matrix, size_wh, flags=cv2.INTER_LINEAR)
    shadow = cv2.GaussianBlur(np.roll(cover, (4, 3), (0, 1)), (0, 0), 3)
    image *= 1 - darkness * shadow[..., None]
    image += (cv2.warpPerspective(cloth, matrix, size_wh, flags=cv2.INTER_AREA) - image) * cover[..., None]


def park(rng: np.random.Generator, shape: tuple[int, int], dusk: bool = False) -> Backdrop:
    """A meadow under the sky, with a picnic cloth."""
    h, w = shape
    horizon = round(h * 0.47)
    colours = ((96, 120, 176), (246, 196, 150)) if dusk else ((66, 132, 214), (196, 222, 242))
    image = np.empty((h, w, 3), np.float32)
    image[:horizon] = sky(rng, (horizon, w), *colours, 0.05)
    image[horizon:] = lawn(rng, (h - horizon, w), (104, 126, 52) if dusk else (88, 140, 52))
    _trees(rng, image, horizon + 2, (62, 84, 48) if dusk else (58, 104, 52), 0.15 * h)
    cloth = gingham(rng, (360, 480), (52, 92, 160) if dusk else (200, 44, 46), 40)
    left, right = (0.42, 0.98) if dusk else (0.02, 0.6)
    y0, y1 = 0.76 * h, 0.975 * h
    _lay(image, cloth, [((left + 0.06) * w, y0), ((right - 0.06) * w, y0), (right * w, y1), (left * w, y1)])
    meadow = (0.66 * w, 0.66 * h, 0.94 * w, 0.97 * h) if not dusk else (0.05 * w, 0.66 * h, 0.38 * w, 0.97 * h)
    return Backdrop(image, [
        Zone(('kite',), (0.08 * w, 0.1 * h, 0.92 * w, 0.3 * h), (44, 150), 2, shadow='none', turn=40),
        Zone(SIGNS, (0.08 * w, 0.56 * h, 0.92 * w, 0.68 * h), (56, 130), 2, base=True, deep=True, shadow='ground', post=1.3, turn=4),
        Zone(('sports ball', 'umbrella'), meadow, (60, 190), 3, base=True, deep=True, shadow='ground', turn=8),
        Zone(FOOD + ('clock',), ((left + 0.08) * w, 0.83 * h, (right - 0.08) * w, 0.95 * h), (50, 110), 5, base=True, deep=True, shadow='ground', turn=8),
    ])


def street(rng: np.random.Generator, shape: tuple[int, int]) -> Backdrop:
    """A road towards a row of houses, and a wooden bench in front."""
    h, w = shape
    horizon = round(h * 0.44)
    image = np.empty((h, w, 3), np.float32)
    image[:horizon] = sky(rng, (horizon, w), (120, 160, 206), (220, 226, 228), 0.15)
    _houses(rng, image, horizon)
    image[horizon:] = asphalt(rng, (h - horizon, w))
    road = image[horizon:]
    rows = np.linspace(0, 1, h - horizon, dtype=np.float32)[:, None]
    x = np.arange(w, dtype=np.float32)[None]
    spread = 0.08 + 0.92 * rows  # half width of the road over half the picture
    kerb = np.abs(x / w - 0.5) * 2 - spread * 0.95
    paving = np.float32([176, 172, 166]) * (0.94 + 0.1 * noise(rng, road.shape[:2], 14, 4))[..., None]
    road += (paving - road) * smoothstep(0.0, 0.012, kerb)[..., None]
    road *= (1 - 0.35 * smoothstep(0.03, 0.0, np.abs(kerb + 0.01)))[..., None]
    distance = 1 / (rows + 0.09)
    dash = (np.sin(distance * 5.0) > -0.2) * smoothstep(1, 0.6, np.abs(x / w - 0.5) / (0.022 * spread))
    road += (np.float32([232, 228, 210]) - road) * (0.85 * dash * (0.9 + 0.2 * noise(rng, road.shape[:2], 10, 2)))[..., None]
    top = round(h * 0.83)
    bench = planks(rng, (h - top, w), (150, 96, 58), max((h - top) // 2, 20))
    image[top - 9 : top] *= np.linspace(1, 0.7, 9, dtype=np.float32)[:, None, None]
    image[top:] = bench
    image[top : top + 4] *= 1.2
    return Backdrop(image, [
        Zone(('kite',), (0.1 * w, 0.08 * h, 0.9 * w, 0.2 * h), (46, 110), 1, shadow='none', turn=40),
        Zone(SIGNS + ('clock',), (0.06 * w, 0.54 * h, 0.94 * w, 0.72 * h), (50, 150), 4, base=True, deep=True, shadow='ground', post=1.2, turn=4),
        Zone(('sports ball', 'umbrella'), (0.1 * w, 0.62 * h, 0.9 * w, 0.82 * h), (44, 150), 3, base=True, deep=True, shadow='ground', turn=10),
        Zone(FOOD, (0.1 * w, 0.9 * h, 0.9 * w, 0.985 * h), (64, 130), 4, base=True, shadow='ground', turn=10),
    ])


def beach(rng: np.random.Generator, shape: tuple[int, int]) -> Backdrop:
    """Sky, sea and sand, and a towel."""
    h, w = shape
    horizon, shore = round(h * 0.38), round(h * 0.54)
    image = np.empty((h, w, 3), np.float32)
    image[:horizon] = sky(rng, (horizon, w), (54, 128, 212), (206, 228, 240), -0.05)
    image[horizon:] = sand(rng, (h - horizon, w))
    _sea(rng, image, horizon, shore)
    cloth = gingham(rng, (360, 480), (40, 140, 150), 36)
    _lay(image, cloth, [(0.45 * w, 0.8 * h), (0.9 * w, 0.8 * h), (0.98 * w, 0.98 * h), (0.41 * w, 0.98 * h)], 0.25)
    return Backdrop(image, [
        Zone(('kite',), (0.08 * w, 0.1 * h, 0.92 * w, 0.24 * h), (50, 140), 2, shadow='none', turn=40),
        Zone(SIGNS, (0.08 * w, 0.6 * h, 0.92 * w, 0.7 * h), (60, 130), 2, base=True, deep=True, shadow='ground', post=1.2, turn=5),
        Zone(('umbrella', 'sports ball'), (0.05 * w, 0.66 * h, 0.4 * w, 0.97 * h), (60, 190), 3, base=True, deep=True, shadow='ground', turn=14),
        Zone(FOOD + ('clock',), (0.5 * w, 0.86 * h, 0.9 * w, 0.96 * h), (56, 110), 4, base=True, deep=True, shadow='ground', turn=8),
    ])


def wall(rng: np.random.Generator, shape: tuple[int, int], kind: str = 'bricks') -> Backdrop:
    """A wall of 'bricks' or 'plaster' with two shelves, over a pavement."""
    h, w = shape
    image = bricks(rng, shape) if kind == 'bricks' else plaster(rng, shape, (172, 190, 178))
    floor = round(h * 0.87)
    image[floor:] = np.float32([150, 146, 140]) * (0.95 + 0.14 * noise(rng, (h - floor, w), 30, 5, 3))[..., None]
    image[floor - 14 : floor] *= np.linspace(1, 0.6, 14, dtype=np.float32)[:, None, None]
    shelves = []
    for left, right, level in ((0.04, 0.5, 0.5), (0.52, 0.96, 0.66)) if kind == 'bricks' else ((0.06, 0.62, 0.62),):
        x0, x1, y0, y1 = round(left * w), round(right * w), round(level * h), round(level * h) + 20
        shade = np.linspace(0.5, 1, 46, dtype=np.float32)[:, None, None]
        image[y1 : y1 + 46, x0 + 6 : x1 + 10] *= shade
        board = planks(rng, (y1 - y0, x1 - x0), (176, 128, 82), 40)
        board[:6] *= 1.22
        board[6:8] *= 0.8
        image[y0:y1, x0:x1] = board
        shelves.append((x0 + 0.05 * w, y0 + 2, x1 - 0.05 * w, y0 + 5))
    zones = [Zone(('clock', 'kite', *SIGNS, 'umbrella'), (0.1 * w, 0.13 * h, 0.9 * w, 0.28 * h), (70, 190), 4 if kind == 'bricks' else 5, turn=14)]
    for i, area in enumerate(shelves):
        names = FOOD + ('clock', 'sports ball') if i == 0 else ('sports ball', *FOOD)
        zones.append(Zone(names, area, (54, 104), 3 if kind == 'bricks' else 4, base=True, shadow='ground', turn=6))
    zones.append(Zone(('sports ball', 'umbrella', 'traffic light'), (0.1 * w, 0.92 * h, 0.9 * w, 0.98 * h), (90, 170), 2, base=True, shadow='ground', turn=10))
    return Backdrop(image, zones)


def table(rng: np.random.Generator, shape: tuple[int, int], kind: str = 'planks') -> Backdrop:
    """A table from above, of 'planks', 'marble' or covered with 'gingham'."""
    h, w = shape
    surfaces = {'planks': planks, 'marble': marble, 'gingham': gingham}
    image = surfaces[kind](rng, shape)
    everything = (0.1 * w, 0.12 * h, 0.9 * w, 0.88 * h)
    return Backdrop(image, [
        Zone(('umbrella', 'kite', 'stop sign'), everything, (120, 220), 2, turn=180),
        Zone((*FOOD, 'clock', 'sports ball', 'traffic light'), everything, (84, 150), 7, turn=180),
        Zone((*FOOD, 'kite', 'sports ball', 'clock', 'stop sign'), everything, (36, 70), 4, turn=180),
    ])
