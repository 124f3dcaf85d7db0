"""Places from above: ports, airports, car parks, suburbs, tank farms, sports grounds and roads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .aerial import Survey, concrete, tar, turf, water
from .textures import smoothstep

_WHITE, _YELLOW = (226, 226, 220), (222, 178, 60)


def _trees(land: Survey, count: int, area: tuple[float, float, float, float] | None = None) -> None:
    reach = land.size * 0.68
    u0, v0, u1, v1 = area or (-reach, -reach, reach, reach)
    for _ in range(count):
        land.put('tree', land.rng.uniform(u0, u1), land.rng.uniform(v0, v1), 0, land.rng.uniform(20, 46))


def _road(land: Survey, v: float, width: float) -> None:
    """Draw a road along u around ``v``, with a dashed line in its middle."""
    across = land.v - v
    land.lay(np.float32([168, 162, 150]), np.clip(width / 2 + 6.5 - np.abs(across), 0, 1))
    land.lay(tar(land.rng, land.shape), np.clip(width / 2 + 0.5 - np.abs(across), 0, 1))
    land.line(np.abs(across) - width / 2 + 4, 2, _WHITE)
    dashes = np.where(np.sin(land.u / 9) > 0, across, 99)
    land.line(dashes, 2.2, _WHITE)


def _traffic(land: Survey, v: float, width: float, unit: float, share_large: float) -> None:
    """Draw vehicles on the road, keeping to the right; ``unit`` is a car's length in pixels."""
    rng = land.rng
    for side in (-1, 1):
        u = -0.7 * land.size + rng.uniform(0, 60)
        while u < 0.7 * land.size:
            large = rng.random() < share_large
            size = unit * (rng.uniform(1.9, 2.9) if large else rng.uniform(0.92, 1.1))
            name = 'large vehicle' if large else 'small vehicle'
            # the picture's y points down, so that right of the heading u is +v
            land.put(name, u + size / 2, v + side * width * 0.25, 0 if side > 0 else 180, size)
            u += size + unit * rng.uniform(0.4, 2.6)


def _bays(
    land: Survey, u0: float, u1: float, v: float, unit: float, filled: float, name: str = 'small vehicle'
) -> None:
    """Draw a row of parking bays from u0 to u1 around v, cars across the row."""
    rng, large = land.rng, name == 'large vehicle'
    step, depth = (0.36, 1.1) if large else (0.62, 1.18)
    step, depth = step * unit, depth * unit
    inside = (np.abs(land.v - v) < depth / 2) & (land.u > u0 - 2) & (land.u < u1 + 2)
    phase = (land.u - u0 + step / 2) % step - step / 2
    land.line(np.where(inside, phase, 99), 2.0, _WHITE, 0.7)
    for u in np.arange(u0 + step / 2, u1 - step / 3, step):
        if rng.random() < filled:
            size = unit * (rng.uniform(0.9, 1.0) if not large else rng.uniform(0.85, 1.0))
            land.put(name, u, v + rng.normal(0, 0.03 * unit), rng.choice([90, 270]) + rng.normal(0, 2), size)


def _helipads(land: Survey, where: np.ndarray, count: int, colour: tuple) -> None:
    """Draw round landing pads with a helicopter each, centred ``where`` (h, w) bool."""
    for _ in range(40):
        (u, v), size = land.anywhere(30), land.rng.uniform(84, 112)
        x, y = np.floor(land.centre(u, v)).astype(int)
        if count and where[y, x] and land.put('helicopter', u, v, land.rng.uniform(0, 360), size):
            radius = np.hypot(land.u - u, land.v - v)
            land.lay(np.float32([130, 132, 134]), np.clip(62.5 - radius, 0, 1))
            land.line(radius - 56, 4, colour)
            land.keep_free(radius < 64)
            count -= 1


def _length(rng: np.random.Generator, kind: int) -> float:
    """Return the length in pixels of a ship under way: yachts and boats are small."""
    return rng.uniform(*((130, 220), (70, 130), (110, 200), (46, 76))[kind])


def port(rng: np.random.Generator, size: int) -> Survey:
    """Draw a quay with moored ships and jetties, lorries on land, ships coming and going."""
    land = Survey(rng, size, rng.uniform(0, 360))
    edge = rng.uniform(-0.28, -0.1) * size
    land.lay(water(rng, land.shape))
    land.lay(concrete(rng, land.shape), smoothstep(1, -1, land.v - edge))
    land.line(land.v - edge, 7, (110, 106, 100), 1.0)
    land.image *= (1 - 0.4 * smoothstep(12, 3, land.v - edge) * (land.v > edge + 3))[..., None]
    land.line(np.where(np.sin(land.u / 14) > -0.6, land.v - edge + 44, 99), 2, _YELLOW)
    u = -0.5 * size + rng.uniform(0, 60)
    jetties, turn = 0, int(rng.integers(2))
    while u < 0.6 * size:
        turn += 1
        if turn % 2:
            long = rng.uniform(170, 220)
            variant = int(rng.integers(6))
            if land.put('harbor', u + 0.3 * long, edge + long / 2, 90, long, variant):
                jetties += 1
                _moor(land, u + 0.3 * long, edge + long / 2, long, 3 + variant % 2)
            u += 0.66 * long + rng.uniform(10, 30)
        else:
            long = rng.uniform(140, 210)
            kind = int(rng.choice([0, 2]))
            land.put('ship', u + long / 2, edge + 0.105 * long + 8, rng.choice([0, 180]), long, kind)
            u += long + rng.uniform(15, 50)
    for _ in range(16):
        u, v = land.anywhere()
        if v > edge + (240 if jetties else 90):
            kind = int(rng.integers(4))
            land.sail(u, v, rng.uniform(0, 360), _length(rng, kind), kind)
    for _ in range(8):
        name, long = (
            ('large vehicle', rng.uniform(80, 110)) if rng.random() < 0.6 else ('small vehicle', rng.uniform(34, 42))
        )
        land.put(
            name,
            rng.uniform(-0.6, 0.6) * size,
            edge - rng.uniform(24, 80),
            rng.choice([0, 180]) + rng.normal(0, 4),
            long,
        )
    for _ in range(5):
        land.put('roof', rng.uniform(-0.6, 0.6) * size, edge - rng.uniform(110, 330), 0, rng.uniform(90, 150))
    return land


def _moor(land: Survey, u: float, v: float, long: float, fingers: int) -> None:
    """Draw boats between the fingers of a jetty around (u, v) that heads along v."""
    places = np.linspace(-0.18, 0.475, fingers)
    for first, second in zip(places[:-1], places[1:], strict=True):
        for side in (-1, 1):
            if land.rng.random() < 0.75:
                boat = land.rng.uniform(0.2, 0.24) * long
                beside = v + (first + second) / 2 * long
                land.put('ship', u + side * 0.19 * long, beside, land.rng.choice([0, 180]), boat, 3)


def airport(rng: np.random.Generator, size: int) -> Survey:
    """Draw an apron with parked planes, a landing pad for helicopters, and vehicles that serve them."""
    land = Survey(rng, size, rng.uniform(0, 360))
    land.lay(concrete(rng, land.shape))
    slab = rng.uniform(46, 62)
    for field in (land.u, land.v):
        land.line((field + slab / 2) % slab - slab / 2, 1.4, (104, 104, 102), 0.5)
    border = rng.uniform(0.26, 0.36) * size
    land.lay(turf(rng, land.shape), smoothstep(border - 1, border + 1, land.v))
    land.line(land.v - border + 14, 3, _YELLOW)
    land.line(land.v + 0.05 * size, 3.4, _YELLOW)
    long = rng.uniform(120, 175)
    for row, v in ((0, -0.25 * size), (1, 0.14 * size)):
        u = -0.66 * size + rng.uniform(0, 60)
        while u < 0.66 * size:
            plane = long * rng.uniform(0.86, 1.1)
            heading = (90 if row == 0 else 270) + rng.normal(0, 5) if rng.random() < 0.75 else rng.uniform(0, 360)
            if rng.random() < 0.8:
                land.put('plane', u + plane / 2, v, heading, plane)
            u += plane * 1.06
    _helipads(land, land.v > border + 60, 3, _WHITE)
    for _ in range(14):
        name, scale = ('large vehicle', 74) if rng.random() < 0.4 else ('small vehicle', 34)
        v = rng.choice([-0.05 * size + rng.uniform(-18, 18), -0.44 * size, border - 24])
        land.put(
            name,
            rng.uniform(-0.6, 0.6) * size,
            v,
            rng.choice([0, 180]) + rng.normal(0, 6),
            scale * rng.uniform(0.9, 1.2),
        )
    return land


def car_park(rng: np.random.Generator, size: int) -> Survey:
    """Draw rows of parked cars and of lorries, beside a road."""
    land = Survey(rng, size, rng.uniform(0, 360))
    land.lay(turf(rng, land.shape))
    unit = rng.uniform(38, 50)
    top, bottom = -0.3 * size, 0.42 * size
    left, right = -rng.uniform(0.36, 0.5) * size, rng.uniform(0.36, 0.5) * size
    lot = np.maximum(np.maximum(land.v - bottom, top - land.v), np.maximum(left - land.u, land.u - right))
    land.lay(np.float32([176, 172, 164]), np.clip(6.5 - lot, 0, 1))
    land.lay(tar(rng, land.shape), np.clip(0.5 - lot, 0, 1))
    v = top + 0.75 * unit
    while v < bottom - 3 * unit:
        _bays(land, left + unit, right - unit, v, unit, rng.uniform(0.35, 0.7))
        _bays(land, left + unit, right - unit, v + 1.2 * unit, unit, rng.uniform(0.35, 0.7))
        v += 3.5 * unit
    if v < bottom - 1.3 * unit:
        _bays(land, left + unit, right - unit, v + 0.8 * unit, 2.3 * unit, 0.6, 'large vehicle')
    width = 2.1 * unit
    _road(land, top - 0.75 * width, width)
    _traffic(land, top - 0.75 * width, width, unit, 0.3)
    land.keep_free(np.abs(land.v - top + 0.75 * width) < width / 2 + 14)
    land.keep_free(lot < 16)
    _trees(land, 30)
    return land


def suburb(rng: np.random.Generator, size: int) -> Survey:
    """Draw houses with pools along a road, and a tennis court."""
    land = Survey(rng, size, rng.uniform(0, 360))
    land.lay(turf(rng, land.shape))
    unit = rng.uniform(34, 44)
    width = 2.2 * unit
    road = rng.uniform(-0.08, 0.08) * size
    _road(land, road, width)
    _traffic(land, road, width, unit, 0.15)
    land.keep_free(np.abs(land.v - road) < width / 2 + 8)
    for side in (-1, 1):
        u = -0.66 * size + rng.uniform(0, 60)
        while u < 0.66 * size:
            house = rng.uniform(90, 130)
            v = road + side * (width / 2 + rng.uniform(70, 84))
            drive = (np.abs(land.u - u - house - 16) < 15) & ((land.v - road) * side > 0) & ((land.v - v) * side < 30)
            land.lay(np.float32([172, 166, 156]), drive * (np.abs(land.v - road) > width / 2 + 3))
            land.put('roof', u + house / 2, v, rng.choice([0, 180]), house)
            if rng.random() < 0.7:
                place = road + side * (width / 2 + rng.uniform(30, 70))
                land.put('small vehicle', u + house + 16, place, rng.choice([90, 270]) + rng.normal(0, 3), unit)
            if rng.random() < 0.85:
                back = road + side * (width / 2 + rng.uniform(165, 190))
                land.put(
                    'swimming pool', u + rng.uniform(0.2, 0.8) * house, back, rng.uniform(0, 360), rng.uniform(70, 100)
                )
            u += house + rng.uniform(38, 60)
    for _ in range(2):
        v = road + rng.choice([-1, 1]) * rng.uniform(0.38, 0.46) * size
        land.put('tennis court', rng.uniform(-0.4, 0.4) * size, v, rng.choice([0, 90]), rng.uniform(130, 170))
    _trees(land, 42)
    return land


def tank_farm(rng: np.random.Generator, size: int) -> Survey:
    """Draw storage tanks inside walls, pipes between them, and tank lorries."""
    land = Survey(rng, size, rng.uniform(0, 360))
    gravel = concrete(rng, land.shape) * np.float32([0.98, 0.94, 0.86])
    land.lay(gravel)
    pitch = rng.uniform(125, 165)
    road = rng.choice([-1, 1]) * rng.uniform(0.2, 0.3) * size
    u0, v0 = rng.uniform(0, pitch, 2)
    for field, start in ((land.u, u0), (land.v, v0)):
        phase = (field - start + pitch / 2) % pitch - pitch / 2
        land.image *= (1 - 0.3 * smoothstep(6, 2, np.abs(phase - 4)))[..., None]
        land.line(phase, 5, (200, 194, 182), 1.0)
    for k, tone in enumerate(((160, 164, 168), (186, 150, 90))):
        land.line((land.v - v0 - pitch * 0.5 + 7 * k + pitch) % (2 * pitch) - pitch, 3.4, tone, 1.0)
    unit = rng.uniform(34, 42)
    _road(land, road, 2.4 * unit)
    _traffic(land, road, 2.4 * unit, unit, 0.55)
    land.keep_free(np.abs(land.v - road) < 1.2 * unit + 10)
    for i in np.arange(-4, 5):
        for j in np.arange(-4, 5):
            if rng.random() < 0.75:
                u, v = u0 + (i + 0.5) * pitch, v0 + (j + 0.5) * pitch
                if rng.random() < 0.2:
                    for du, dv in ((-1, -1), (1, -1), (-1, 1), (1, 1)):
                        land.put(
                            'storage tank',
                            u + du * 0.22 * pitch,
                            v + dv * 0.22 * pitch,
                            rng.uniform(0, 360),
                            0.34 * pitch,
                        )
                else:
                    land.put('storage tank', u, v, rng.uniform(0, 360), pitch * rng.uniform(0.55, 0.84))
    return land


def sports_ground(rng: np.random.Generator, size: int) -> Survey:
    """Draw tennis and basketball courts, a pool and a few parked cars."""
    land = Survey(rng, size, rng.uniform(0, 360))
    land.lay(turf(rng, land.shape))
    for v in (-0.34 * size, 0.02 * size, 0.38 * size):
        land.line(land.v - v - 0.18 * size, 16, (196, 182, 156), 1.0)
        name, u = rng.choice(['tennis court', 'basketball court']), -0.62 * size + rng.uniform(0, 60)
        while u < 0.62 * size:
            if rng.random() < 0.3:
                name = rng.choice(['tennis court', 'basketball court', 'swimming pool'])
            upright = rng.random() < 0.55
            ratio = {'tennis court': 0.54, 'basketball court': 0.6, 'swimming pool': 0.5}[name]
            long = {'tennis court': 165, 'basketball court': 160, 'swimming pool': 120}[name] * rng.uniform(0.9, 1.1)
            wide = long * ratio if upright else long
            land.put(str(name), u + wide / 2, v, (90 if upright else 0) + rng.normal(0, 1), long)
            u += wide + rng.uniform(12, 40)
    unit = rng.uniform(34, 42)
    for _ in range(10):
        v = rng.choice([-0.34, 0.02, 0.38]) * size + 0.18 * size
        land.put('small vehicle', rng.uniform(-0.6, 0.6) * size, v, rng.choice([0, 180]) + rng.normal(0, 3), unit)
    _trees(land, 26)
    return land


def sea(rng: np.random.Generator, size: int) -> Survey:
    """Draw ships on open water, and a helicopter or two above it."""
    land = Survey(rng, size, rng.uniform(0, 360))
    land.lay(water(rng, land.shape))
    for k in range(16):
        kind = int(rng.choice([0, 2]) if k < 3 else rng.integers(4))
        land.sail(*land.anywhere(), rng.uniform(0, 360), _length(rng, kind), kind)
    for _ in range(3):
        land.put('helicopter', *land.anywhere(40), rng.uniform(0, 360), rng.uniform(84, 112))
    return land


def river(rng: np.random.Generator, size: int) -> Survey:
    """Draw a motorway beside a river with boats, and a landing pad for helicopters."""
    land = Survey(rng, size, rng.uniform(0, 360))
    land.lay(turf(rng, land.shape))
    bank = rng.uniform(0.05, 0.14) * size
    shore = land.v - bank - 12 * np.sin(land.u / 70)
    land.lay(np.float32([178, 164, 130]), smoothstep(-16, -10, shore))
    land.lay(water(rng, land.shape), smoothstep(-2, 2, shore))
    unit = rng.uniform(34, 46)
    width = 2.4 * unit
    roads = [bank - 0.9 * width - 20, bank - 2.1 * width - 24]
    for v in roads:
        _road(land, v, width)
        _traffic(land, v, width, unit, 0.4)
    for _ in range(24):
        (u, v), kind = land.anywhere(), int(rng.integers(4))
        if v > bank + 60:
            land.sail(u, v, rng.choice([0, 180]) + rng.normal(0, 14), _length(rng, kind), kind)
    far = roads[1] - width / 2
    _helipads(land, land.v < far - 60, 2, _YELLOW)
    land.keep_free(land.v > far - 8)
    _trees(land, 40)
    return land


SCENES: tuple[Callable[[np.random.Generator, int], Survey], ...] = (
    port,
    airport,
    car_park,
    suburb,
    tank_farm,
    sports_ground,
    sea,
    river,
)
