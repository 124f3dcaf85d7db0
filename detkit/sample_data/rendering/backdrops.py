"""Places: a background and the zones of it where objects may be."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .scenery import draw_houses, draw_sea, draw_trees, joint_lines, lay_cloth, sky
from .textures import asphalt, bricks, gingham, lawn, marble, noise, planks, plaster, sand, smoothstep


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


def park(rng: np.random.Generator, shape: tuple[int, int], dusk: bool = False) -> Backdrop:
    """Draw a meadow under the sky, with a picnic cloth."""
    h, w = shape
    horizon = round(h * 0.47)
    colours = ((96, 120, 176), (246, 196, 150)) if dusk else ((66, 132, 214), (196, 222, 242))
    image = np.empty((h, w, 3), np.float32)
    image[:horizon] = sky(rng, (horizon, w), *colours, 0.05)
    image[horizon:] = lawn(rng, (h - horizon, w), (104, 126, 52) if dusk else (88, 140, 52))
    draw_trees(rng, image, horizon + 2, (62, 84, 48) if dusk else (58, 104, 52), 0.15 * h)
    cloth = gingham(rng, (360, 480), (52, 92, 160) if dusk else (200, 44, 46), 40)
    left, right = (0.42, 0.98) if dusk else (0.02, 0.6)
    y0, y1 = 0.76 * h, 0.975 * h
    lay_cloth(image, cloth, [((left + 0.06) * w, y0), ((right - 0.06) * w, y0), (right * w, y1), (left * w, y1)])
    meadow = (0.66 * w, 0.66 * h, 0.94 * w, 0.97 * h) if not dusk else (0.05 * w, 0.66 * h, 0.38 * w, 0.97 * h)
    return Backdrop(
        image,
        [
            Zone(('kite',), (0.08 * w, 0.1 * h, 0.92 * w, 0.3 * h), (40, 150), 2, shadow='none', turn=40),
            Zone(
                SIGNS,
                (0.08 * w, 0.56 * h, 0.92 * w, 0.68 * h),
                (40, 130),
                2,
                base=True,
                deep=True,
                shadow='ground',
                post=1.3,
                turn=4,
            ),
            Zone(('sports ball', 'umbrella'), meadow, (60, 190), 3, base=True, deep=True, shadow='ground', turn=8),
            Zone(
                FOOD + ('alarm clock',),
                ((left + 0.08) * w, 0.83 * h, (right - 0.08) * w, 0.95 * h),
                (50, 110),
                5,
                base=True,
                deep=True,
                shadow='ground',
                turn=8,
            ),
        ],
    )


def street(rng: np.random.Generator, shape: tuple[int, int]) -> Backdrop:
    """Draw a road towards a row of houses, and a wooden bench in front."""
    h, w = shape
    horizon = round(h * 0.44)
    image = np.empty((h, w, 3), np.float32)
    image[:horizon] = sky(rng, (horizon, w), (120, 160, 206), (220, 226, 228), 0.15)
    draw_houses(rng, image, horizon)
    image[horizon:] = asphalt(rng, (h - horizon, w))
    road = image[horizon:]
    rows = np.linspace(0, 1, h - horizon, dtype=np.float32)[:, None]
    x = np.arange(w, dtype=np.float32)[None]
    spread = 0.08 + 0.92 * rows  # half width of the road over half the picture
    kerb = np.abs(x / w - 0.5) * 2 - spread * 0.95
    along, across = 3.2 / (rows + 0.09), (x / w - 0.5) / spread * 9
    joints = np.minimum(joint_lines(along + 0 * across, 0.05), joint_lines(across, 0.03))
    tones = rng.random((64, 64), dtype=np.float32)[np.floor(along).astype(int) % 64, np.floor(across).astype(int) % 64]
    slabs = (0.9 + 0.12 * tones + 0.05 * noise(rng, road.shape[:2], 8, 3)) * (0.78 + 0.22 * joints)
    paving = np.float32([176, 170, 162]) * slabs[..., None]
    road += (paving - road) * smoothstep(0.0, 0.012, kerb)[..., None]
    road *= (1 - 0.35 * smoothstep(0.03, 0.0, np.abs(kerb + 0.01)))[..., None]
    distance = 1 / (rows + 0.09)
    dash = (np.sin(distance * 5.0) > -0.2) * smoothstep(1, 0.6, np.abs(x / w - 0.5) / (0.022 * spread))
    road += (np.float32([232, 228, 210]) - road) * (0.85 * dash * (0.9 + 0.2 * noise(rng, road.shape[:2], 10, 2)))[
        ..., None
    ]
    top = round(h * 0.83)
    bench = planks(rng, (h - top, w), (150, 96, 58), max((h - top) // 2, 20))
    image[top - 9 : top] *= np.linspace(1, 0.7, 9, dtype=np.float32)[:, None, None]
    image[top:] = bench
    image[top : top + 4] *= 1.2
    return Backdrop(
        image,
        [
            Zone(('kite',), (0.1 * w, 0.08 * h, 0.9 * w, 0.2 * h), (36, 110), 2, shadow='none', turn=40),
            Zone(
                SIGNS + ('wall clock',),
                (0.06 * w, 0.54 * h, 0.94 * w, 0.72 * h),
                (40, 150),
                4,
                base=True,
                deep=True,
                shadow='ground',
                post=1.2,
                turn=4,
            ),
            Zone(
                ('sports ball', 'umbrella'),
                (0.1 * w, 0.62 * h, 0.9 * w, 0.82 * h),
                (44, 150),
                3,
                base=True,
                deep=True,
                shadow='ground',
                turn=10,
            ),
            Zone(FOOD, (0.1 * w, 0.9 * h, 0.9 * w, 0.985 * h), (64, 130), 4, base=True, shadow='ground', turn=10),
        ],
    )


def beach(rng: np.random.Generator, shape: tuple[int, int]) -> Backdrop:
    """Draw sky, sea and sand, and a towel."""
    h, w = shape
    horizon, shore = round(h * 0.38), round(h * 0.54)
    image = np.empty((h, w, 3), np.float32)
    image[:horizon] = sky(rng, (horizon, w), (54, 128, 212), (206, 228, 240), -0.05)
    image[horizon:] = sand(rng, (h - horizon, w))
    draw_sea(rng, image, horizon, shore)
    cloth = gingham(rng, (360, 480), (40, 140, 150), 36)
    lay_cloth(image, cloth, [(0.45 * w, 0.8 * h), (0.9 * w, 0.8 * h), (0.98 * w, 0.98 * h), (0.41 * w, 0.98 * h)], 0.25)
    return Backdrop(
        image,
        [
            Zone(('kite',), (0.08 * w, 0.1 * h, 0.92 * w, 0.24 * h), (40, 140), 2, shadow='none', turn=40),
            Zone(
                SIGNS,
                (0.08 * w, 0.6 * h, 0.92 * w, 0.7 * h),
                (60, 130),
                2,
                base=True,
                deep=True,
                shadow='ground',
                post=1.2,
                turn=5,
            ),
            Zone(
                ('umbrella', 'sports ball'),
                (0.05 * w, 0.66 * h, 0.4 * w, 0.97 * h),
                (60, 190),
                3,
                base=True,
                deep=True,
                shadow='ground',
                turn=14,
            ),
            Zone(
                FOOD + ('alarm clock',),
                (0.5 * w, 0.86 * h, 0.9 * w, 0.96 * h),
                (56, 110),
                4,
                base=True,
                deep=True,
                shadow='ground',
                turn=8,
            ),
        ],
    )


def wall(rng: np.random.Generator, shape: tuple[int, int], kind: str = 'bricks') -> Backdrop:
    """Draw a wall of 'bricks' or 'plaster' with two shelves, over a pavement."""
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
    zones = [
        Zone(
            ('wall clock', 'kite', *SIGNS, 'umbrella'),
            (0.1 * w, 0.13 * h, 0.9 * w, 0.28 * h),
            (64, 170),
            5,
            turn=14,
        )
    ]
    for i, area in enumerate(shelves):
        names = FOOD + ('alarm clock', 'sports ball') if i == 0 else ('sports ball', *FOOD)
        zones.append(Zone(names, area, (54, 104), 3 if kind == 'bricks' else 4, base=True, shadow='ground', turn=6))
    zones.append(
        Zone(
            ('sports ball', 'umbrella', 'traffic light'),
            (0.1 * w, 0.92 * h, 0.9 * w, 0.98 * h),
            (90, 170),
            2,
            base=True,
            shadow='ground',
            turn=10,
        )
    )
    return Backdrop(image, zones)


def table(rng: np.random.Generator, shape: tuple[int, int], kind: str = 'planks') -> Backdrop:
    """Draw a table from above, of 'planks', 'marble' or covered with 'gingham'."""
    h, w = shape
    surfaces = {'planks': planks, 'marble': marble, 'gingham': gingham}
    image = surfaces[kind](rng, shape)
    everything = (0.1 * w, 0.12 * h, 0.9 * w, 0.88 * h)
    return Backdrop(
        image,
        [
            Zone(('umbrella', 'kite', 'stop sign'), everything, (110, 200), 3, turn=180),
            Zone(
                (*FOOD, 'wall clock', 'alarm clock', 'sports ball', 'traffic light'), everything, (80, 140), 6, turn=180
            ),
            Zone((*FOOD, 'kite', 'sports ball', 'wall clock', 'stop sign'), everything, (28, 66), 4, turn=180),
        ],
    )
