"""Fills a place with objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from detkit.utils.rng import keyed_rng

from .backdrops import Backdrop, Zone
from .canvas import Sprite
from .compose import Placement, RenderedScene, compose
from .food import draw_apple, draw_banana, draw_donut
from .household import draw_clock, draw_umbrella
from .sports import draw_ball, draw_kite
from .street import draw_post, draw_stop_sign, draw_traffic_light

Drawer = Callable[[np.random.Generator, float, float, int], Sprite]

# what can be drawn: drawer(rng, size in pixels, angle in degrees, variant)
DRAWERS: dict[str, Drawer] = {
    'traffic light': draw_traffic_light,
    'stop sign': draw_stop_sign,
    'umbrella': draw_umbrella,
    'sports ball': draw_ball,
    'kite': draw_kite,
    'banana': draw_banana,
    'apple': draw_apple,
    'donut': draw_donut,
    'wall clock': partial(draw_clock, alarm=False),
    'alarm clock': partial(draw_clock, alarm=True),
}

_TRIES = 40
_HIDDEN = 0.3  # how much of a box another may cover
_MARGIN = 3  # pixels an object keeps from the picture's border


class _Layout:
    """Boxes taken so far, each x0, y0, x1, y1, and whether something may overlap it."""

    def __init__(self) -> None:
        self.boxes: list[tuple[float, float, float, float, float]] = []

    def fits(self, box: tuple[float, float, float, float]) -> bool:
        area = (box[2] - box[0]) * (box[3] - box[1])
        for x0, y0, x1, y1, allowed in self.boxes:
            shared = max(min(box[2], x1) - max(box[0], x0), 0) * max(min(box[3], y1) - max(box[1], y0), 0)
            if shared > allowed * min(area, (x1 - x0) * (y1 - y0)):
                return False
        return True


def populate(
    backdrop: Backdrop,
    labels: Mapping[str, int],
    rng: np.random.Generator,
    drawn: Counter[int] | None = None,
    drawers: Mapping[str, Drawer] | None = None,
) -> RenderedScene:
    """Put objects into a backdrop's zones and render it.

    Args:
        backdrop: the place.
        labels: class index that annotations get, by the drawer's name.
        rng: all choices.
        drawn: how often each class index was drawn before; the rarest that a zone takes comes next,
            those already in the picture counting double, in its next look. Updated in place.
        drawers: by the names that the zones use; by default :data:`DRAWERS`.
    """
    drawn = Counter() if drawn is None else drawn
    drawers = DRAWERS if drawers is None else drawers
    layout, found, here = _Layout(), [], Counter()
    for zone in backdrop.zones:
        for step in range(zone.count):
            names = [zone.names[i] for i in rng.permutation(len(zone.names))]
            name = min(names, key=lambda n: drawn[labels[n]] + here[labels[n]])
            placed = _place(
                backdrop.image.shape[:2],
                zone,
                step,
                partial(drawers[name], variant=drawn[labels[name]]),
                labels[name],
                layout,
                rng,
            )
            if placed:
                drawn[labels[name]] += 1
                here[labels[name]] += 1
                found.append(placed)
    found.sort(key=lambda item: item[0])  # the lower it stands, the nearer it is
    return compose(backdrop.image, [placement for _, group in found for placement in group], rng)


def _place(
    shape: tuple[int, int],
    zone: Zone,
    step: int,
    drawer: Callable[[np.random.Generator, float, float], Sprite],
    label: int,
    layout: _Layout,
    rng: np.random.Generator,
) -> tuple[float, list[Placement]] | None:
    """Find room for one object; its depth and its placements, a post first, or None where the zone is full."""
    x0, y0, x1, y1 = zone.area
    share = (step + rng.random()) / zone.count  # stratified, so that a zone holds small and large ones
    full_size = zone.sizes[0] + (zone.sizes[1] - zone.sizes[0]) * share
    look, angle = int(rng.integers(2**31)), rng.uniform(-zone.turn, zone.turn)
    for size in (full_size, 0.75 * full_size, 0.55 * full_size):  # where it is crowded, a smaller one may fit
        sprite = drawer(keyed_rng(look), size, angle)
        left, top, right, bottom = sprite.bounds()
        lift = zone.post * (bottom - top)
        for _ in range(_TRIES):
            depth = share if zone.deep else rng.random()
            x, y = rng.uniform(x0, x1), y0 + (y1 - y0) * depth
            px = round(x - (left + right) / 2)
            py = round(y - lift - bottom) if zone.base else round(y - (top + bottom) / 2)
            box = (px + left, py + top, px + right, py + bottom)
            if min(box[:2]) < _MARGIN or box[2] > shape[1] - _MARGIN or box[3] > shape[0] - _MARGIN:
                continue
            width = max(0.07 * (bottom - top), 3.0)
            stand = (x - width, box[3], x + width, y)
            if not layout.fits(box) or (lift and not layout.fits(stand)):
                continue
            layout.boxes.append((*box, _HIDDEN))
            placements = [Placement(sprite, px, py, label, 'none' if lift else zone.shadow)]
            if lift:
                layout.boxes.append((*stand, 0.0))
                post = draw_post(keyed_rng(look, 1), width, lift + 0.4 * (bottom - top))
                post_xy = round(x - post.shape[1] / 2), round(y - post.bounds()[3])
                placements.insert(0, Placement(post, *post_xy, None, 'ground'))
            return (y if zone.base else box[3]), placements
    return None
