"""Surfaces filling a rectangle, each an (h, w, 3) float32 RGB picture with values 0-255."""

from __future__ import annotations

import cv2
import numpy as np

from .canvas import Colour


def noise(
    rng: np.random.Generator, shape: tuple[int, int], cell: float, octaves: int = 4, stretch: float = 1.0
) -> np.ndarray:
    """Return smooth noise, (h, w) float32 within [-1, 1].

    Args:
        rng: where its values come from.
        shape: h, w.
        cell: size in pixels of the coarsest bumps; each further octave halves size and height.
        octaves: how many layers are summed.
        stretch: how many times wider than high the bumps are.
    """
    h, w = shape
    total, weight_sum, weight = np.zeros(shape, np.float32), 0.0, 1.0
    for _ in range(octaves):
        rows, columns = int(h / cell) + 3, int(w / (cell * stretch)) + 3
        grid = rng.random((rows, columns), dtype=np.float32) * 2 - 1
        grown = cv2.resize(
            grid, (int(columns * cell * stretch) + 1, int(rows * cell) + 1), interpolation=cv2.INTER_CUBIC
        )
        y, x = int(cell / 2), int(cell * stretch / 2)
        total += np.float32(weight) * grown[y : y + h, x : x + w]
        weight_sum += weight
        weight *= 0.5
        cell = max(cell / 2, 1.0)
    return np.clip(total / np.float32(weight_sum) * 1.5, -1, 1)


def blend(first: Colour, second: Colour, amount: np.ndarray) -> np.ndarray:
    """Return (h, w, 3) float32: ``first`` where ``amount`` (h, w) is 0, ``second`` where it is 1."""
    first, second = np.asarray(first, np.float32), np.asarray(second, np.float32)
    return first + (second - first) * amount.astype(np.float32)[..., None]


def smoothstep(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """Return 0 below ``low``, 1 above ``high``, smooth between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def grain(rng: np.random.Generator, shape: tuple[int, int], strength: float) -> np.ndarray:
    """Return (h, w, 1) float32 fine noise to add."""
    return (rng.random(shape, dtype=np.float32)[..., None] - 0.5) * np.float32(2 * strength)


def relief(field: np.ndarray, dy: int, dx: int = 0) -> np.ndarray:
    """Return by how much (h, w) ``field`` rises from the point ``dy`` pixels above and ``dx`` left; 0 at borders."""
    h, w = field.shape
    before = np.pad(field, ((max(dy, 0), max(-dy, 0)), (max(dx, 0), max(-dx, 0))), mode='edge')
    return field - before[max(-dy, 0) : max(-dy, 0) + h, max(-dx, 0) : max(-dx, 0) + w]


def _bevel(distance: np.ndarray, width: float) -> np.ndarray:
    """Return -1 on the upper or left edge, 1 on the lower or right, 0 inside; ``distance`` is from the middle."""
    return np.sign(distance) * smoothstep(1 - width, 1, np.abs(distance))


def bricks(
    rng: np.random.Generator, shape: tuple[int, int], colour: Colour = (158, 74, 55), row: int = 40
) -> np.ndarray:
    """Draw a brick wall in running bond."""
    h, w = shape
    length = 2.4 * row
    y, x = np.mgrid[:h, :w].astype(np.float32)
    y, x = y + noise(rng, shape, 60, 2) * 1.5, x + noise(rng, shape, 60, 2) * 1.5
    rows = np.floor(y / row)
    across = x / length + 0.5 * (rows % 2)
    columns = np.floor(across)
    fy, fx = y / row - rows - 0.5, across - columns - 0.5
    tones = rng.random((64, 64, 2), dtype=np.float32)[rows.astype(int) % 64, columns.astype(int) % 64]
    surface = noise(rng, shape, 24, 5)
    value = 0.82 + 0.36 * tones[..., 0] + 0.16 * surface
    value -= 0.16 * _bevel(fy * 2, 0.2) + 0.08 * _bevel(fx * 2, 0.1)
    wall = np.asarray(colour, np.float32) * value[..., None]
    wall += (tones[..., 1:] - 0.5) * np.array([20, 16, 14], np.float32)
    gap = 0.075
    mortar = smoothstep(0.5 - gap, 0.5 - gap + 0.03, np.maximum(np.abs(fy), 0.5 - (0.5 - np.abs(fx)) * length / row))
    joint = np.array([186, 178, 166], np.float32) * (0.85 + 0.15 * noise(rng, shape, 10, 3))[..., None]
    return wall + (joint - wall) * mortar[..., None] + grain(rng, shape, 8)


def plaster(rng: np.random.Generator, shape: tuple[int, int], colour: Colour = (206, 190, 160)) -> np.ndarray:
    """Draw a painted, slightly stained wall."""
    rough = noise(rng, shape, 18, 4)
    stains = smoothstep(0.1, 0.8, noise(rng, shape, 180, 4))
    wall = np.asarray(colour, np.float32) * (1 + 0.025 * rough + 0.12 * relief(rough, 2, 2) - 0.1 * stains)[..., None]
    return wall + grain(rng, shape, 5)


def planks(rng: np.random.Generator, shape: tuple[int, int], colour: Colour = (171, 119, 72), width: int = 104):
    """Draw wooden boards that lie from left to right."""
    h, w = shape
    y, x = np.mgrid[:h, :w].astype(np.float32)
    board = (y // width).astype(int)
    count = int(board.max()) + 1
    tone, hue, shift = rng.random((3, count), dtype=np.float32)
    along = x + 400 * shift[board]
    warp = noise(rng, shape, 90, 3, stretch=6)
    bend = np.zeros(shape, np.float32)
    for _ in range(1 + count):  # knots, around which the grain runs
        kx, ky, size = rng.uniform(0, w), rng.uniform(0, h), rng.uniform(8, 16)
        far = ((x - kx) / (2.2 * size)) ** 2 + ((y - ky) / size) ** 2
        bend += np.where(board == int(ky) // width, 1 / (1 + far), 0).astype(np.float32)
    phase = y * 0.16 + 5 * warp + 0.004 * along + 5 * bend
    rings = 0.5 + 0.5 * np.sin(phase * 2)
    fibres = noise(rng, shape, 5, 2, stretch=14)
    value = 0.84 + 0.3 * tone[board] - 0.17 * rings * rings + 0.07 * fibres - 0.3 * smoothstep(0.45, 1, bend)
    wood = np.asarray(colour, np.float32) * value[..., None]
    wood += (hue[board] - 0.5)[..., None] * np.array([14, 2, -14], np.float32)
    seam = np.abs((y % width) / width - 0.5) * 2
    wood *= (1 - 0.62 * smoothstep(0.955, 0.985, seam) + 0.1 * smoothstep(0.9, 0.95, seam))[..., None]
    return wood + grain(rng, shape, 4)


def gingham(
    rng: np.random.Generator, shape: tuple[int, int], colour: Colour = (196, 44, 48), square: int = 48
) -> np.ndarray:
    """Draw a woven cloth with checks and soft folds."""
    h, w = shape
    y, x = np.mgrid[:h, :w].astype(np.float32)
    folds = noise(rng, shape, 200, 3)
    x, y = x + 10 * folds, y + 8 * folds[:, ::-1]
    across = smoothstep(-0.08, 0.08, np.sin(x * np.float32(np.pi / square)))
    down = smoothstep(-0.08, 0.08, np.sin(y * np.float32(np.pi / square)))
    cloth = blend((242, 238, 230), colour, (across + down) / 2)
    weave = ((x.astype(int) + y.astype(int)) % 3 == 0) * np.float32(0.05)
    return cloth * (0.96 + 1.5 * relief(folds, 9, 9) - weave)[..., None] + grain(rng, shape, 4)


def marble(rng: np.random.Generator, shape: tuple[int, int], colour: Colour = (228, 226, 222)) -> np.ndarray:
    """Draw a polished stone slab with veins."""
    base = noise(rng, shape, 220, 5, stretch=1.4)
    veins = 1 - np.minimum(np.abs(base + 0.3 * noise(rng, shape, 60, 4)) * 9, 1)
    fine = 1 - np.minimum(np.abs(noise(rng, shape, 130, 5)) * 14, 1)
    value = 1 + 0.05 * base - 0.26 * veins * veins - 0.14 * fine
    return np.asarray(colour, np.float32) * value[..., None] + grain(rng, shape, 3)


def lawn(
    rng: np.random.Generator,
    shape: tuple[int, int],
    colour: Colour = (86, 132, 52),
    near: float = 1.0,
    far: float = 0.25,
):
    """Draw grass; blades are ``near`` times their usual size at the bottom and ``far`` times at the top."""
    h, w = shape
    patches = noise(rng, shape, 120, 4, stretch=2.5)
    base = np.asarray(colour, np.float32) * (0.78 + 0.16 * patches)[..., None]
    ground = np.clip(base + grain(rng, shape, 16), 0, 255).astype(np.uint8)
    # more, smaller blades towards the top, drawn from there downwards so that near ones lie above far ones
    depth = np.sort(rng.random(int(h * w / 26)) ** 1.3)
    tops = rng.random((len(depth), 4))
    for t, (across, lean, length, tone) in zip(depth, tops, strict=True):
        size = far + (near - far) * t
        x, y = across * w, t * (h + 10)
        tip = (x + (lean - 0.5) * 9 * size, y - (5 + 11 * length) * size)
        value = 0.62 + 0.75 * tone
        shade = (colour[0] * value + 12 * tone, colour[1] * value, colour[2] * value * 0.9)
        ends = [(round(px * 8), round(py * 8)) for px, py in ((x, y), tip)]
        cv2.line(ground, ends[0], ends[1], shade, 1 if size < 1.3 else 2, cv2.LINE_AA, 3)
    return ground.astype(np.float32)


def sand(rng: np.random.Generator, shape: tuple[int, int], colour: Colour = (222, 194, 146)) -> np.ndarray:
    """Draw dry sand with ripples and footmarks."""
    dunes = noise(rng, shape, 90, 5, stretch=3.5)
    pits = smoothstep(0.35, 0.8, noise(rng, shape, 34, 2, stretch=1.7))
    value = 1 + 0.06 * dunes + 0.75 * relief(dunes, 3) - 0.1 * pits
    return np.asarray(colour, np.float32) * value[..., None] + grain(rng, shape, 16)


def asphalt(rng: np.random.Generator, shape: tuple[int, int], colour: Colour = (98, 98, 102)) -> np.ndarray:
    """Draw a road's surface: stones in tar, patches and a crack or two."""
    h, w = shape
    stones = rng.random(shape, dtype=np.float32)
    value = 1 + 0.13 * noise(rng, shape, 150, 4) + 0.3 * (stones - 0.5) + 0.4 * (stones > 0.985)
    road = np.asarray(colour, np.float32) * value[..., None]
    cracks = np.zeros(shape, np.uint8)
    for _ in range(3):
        steps = rng.normal(0, 1, (28, 2)) * (10, 5) + (rng.uniform(-14, 14), rng.uniform(3, 10))
        line = np.cumsum(steps, 0) + (rng.uniform(0, w), rng.uniform(0, h * 0.6))
        cv2.polylines(cracks, [np.rint(line * 8).astype(np.int32)], False, 255, 2, cv2.LINE_AA, 3)
    return road * (1 - cracks.astype(np.float32)[..., None] / 255 * 0.45)
