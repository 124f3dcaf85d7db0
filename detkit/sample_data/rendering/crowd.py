"""People in a place, with COCO's keypoints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detkit.utils.rng import keyed_rng

from .compose import Placement, compose
from .household import draw_umbrella
from .person import Person, draw_person
from .sports import draw_ball
from .stages import Stage

_TRIES = 30
_SEEN, _INSIDE = 0.74, 0.7  # of a person, that the others and the picture's border leave


@dataclass
class SeenPerson:
    """An annotated person.

    Attributes:
        bbox: (4,) x0, y0, x1, y1 pixels, around what is seen.
        keypoints: (17, 3) x, y and visibility: 2 seen, 1 hidden by something, 0 (and x = y = 0) not labelled, because
            outside the picture or on the far side of the head.
    """

    bbox: np.ndarray
    keypoints: np.ndarray


def _facing(rng: np.random.Generator, number: int) -> float:
    """Draw a direction in degrees; eight of ten people face the viewer, the others show their back or a side."""
    if number % 10 not in (3, 8):
        return rng.normal(0, 18)
    if number % 20 != 18:
        return 180 + rng.normal(0, 15)
    return rng.choice([-1, 1]) * rng.uniform(50, 100)


class _Crowd:
    """People placed so far, the farthest first, and how much of each pixel shows each of them."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self.placements: list[Placement] = []
        self.people: list[Person | None] = []
        self.covers: list[np.ndarray] = []
        self.areas: list[float] = []

    def add(self, placement: Placement, person: Person | None) -> bool:
        """Put someone, or a prop, in front of the others, unless too much of anyone would be hidden or outside."""
        own = np.zeros(self.shape, np.float32)
        h, w = self.shape
        alpha = placement.sprite.alpha
        y0, x0 = min(max(placement.y, 0), h), min(max(placement.x, 0), w)
        y1, x1 = min(max(placement.y + alpha.shape[0], 0), h), min(max(placement.x + alpha.shape[1], 0), w)
        if y1 <= y0 or x1 <= x0:
            return False
        part = alpha[y0 - placement.y : y1 - placement.y, x0 - placement.x : x1 - placement.x]
        own[y0:y1, x0:x1] = part
        if part.sum() < _INSIDE * alpha.sum():
            return False
        left = [cover[y0:y1, x0:x1] * part for cover in self.covers]
        for cover, lost, area in zip(self.covers, left, self.areas, strict=True):
            if cover.sum() - lost.sum() < _SEEN * area:
                return False
        for cover, lost in zip(self.covers, left, strict=True):
            cover[y0:y1, x0:x1] -= lost
        self.placements.append(placement)
        self.people.append(person)
        self.covers.append(own)
        self.areas.append(0.0 if person is None else float(part.sum()))
        return True


def draw_crowd(
    rng: np.random.Generator, stage: Stage, count: int, close: bool = False, before: int = 0
) -> tuple[np.ndarray, list[SeenPerson]]:
    """Return ``count`` people, less where there is no room, on a stage.

    Args:
        rng: all choices.
        stage: the place.
        count: how many.
        close: so near that the picture cuts off the legs of some.
        before: how many people there were in earlier pictures; some of them in turn show their backs.

    Returns:
        (H, W, 3) uint8 RGB, and a :class:`SeenPerson` each.
    """
    h, w = stage.image.shape[:2]
    crowd = _Crowd((h, w))
    eyes = rng.uniform(1.05, 1.75) if not close else rng.uniform(1.3, 1.6)  # the viewer's height in metres
    nearest = 0.985 if not close else 1.3
    steps, slots = (np.arange(count) + rng.random(count)) / count, rng.permutation(count)
    least = max(stage.ground, stage.horizon + 0.42 * h * eyes / 1.75)  # nobody is much smaller than that
    for number, (share, slot) in enumerate(zip(steps, slots, strict=True), before):
        feet = least + (nearest * h - least) * share
        height = 1.75 / eyes * (feet - stage.horizon) * rng.uniform(0.9, 1.06)
        look, facing = int(rng.integers(2**31)), _facing(rng, number)
        person = draw_person(keyed_rng(look), height, facing)
        x0, _, x1, y1 = person.sprite.bounds()
        for step in range(_TRIES):  # side by side at first, then anywhere
            place = (slot + rng.uniform(0.1, 0.9)) / count if step < _TRIES / 2 else rng.uniform(0.02, 0.98)
            x = round(place * w - (x0 + x1) / 2)
            if crowd.add(Placement(person.sprite, x, round(feet) - y1, len(crowd.people), 'ground'), person):
                break
        if rng.random() < 0.16:
            size = height * rng.uniform(0.13, 0.24)
            draw = draw_ball if rng.random() < 0.6 else draw_umbrella
            sprite = draw(keyed_rng(look, 1), size, rng.uniform(-20, 20), int(rng.integers(6)))
            x = round(rng.uniform(0.05, 0.95) * w - sprite.shape[1] / 2)
            crowd.add(Placement(sprite, x, round(feet + 4) - sprite.bounds()[3], None, 'ground'), None)
    scene = compose(stage.image, crowd.placements, rng)
    found = []
    for instance in scene.objects:  # their labels say whose they are
        placement, person = crowd.placements[instance.label], crowd.people[instance.label]
        places = person.keypoints @ instance.matrix[:, :2].T + instance.matrix[:, 2]
        seen = _visibility(places, person.seen, instance.coverage, placement)
        keypoints = np.column_stack([places, seen]) * (seen > 0)[:, None]
        bbox = np.concatenate([instance.polygon.min(0), instance.polygon.max(0)])
        found.append(SeenPerson(np.clip(bbox, 0, (w, h, w, h)), keypoints))
    return scene.image, found


def _visibility(places: np.ndarray, seen: np.ndarray, coverage: np.ndarray, placement: Placement) -> np.ndarray:
    """Return ``seen`` (17,) less what others hide and what lies outside the picture."""
    h, w = coverage.shape
    x, y = np.floor(places).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < w) & (y < h)
    # how much of the person was there before others came in front of it
    alpha = placement.sprite.alpha
    own_y, own_x = np.clip(y - placement.y, 0, alpha.shape[0] - 1), np.clip(x - placement.x, 0, alpha.shape[1] - 1)
    left = coverage[np.clip(y, 0, h - 1), np.clip(x, 0, w - 1)]
    hidden = left < 0.5 * alpha[own_y, own_x]
    return np.where(inside, np.where(hidden, np.minimum(seen, 1), seen), 0)
