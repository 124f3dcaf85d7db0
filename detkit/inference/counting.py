"""Counts of tracked objects: how many cross a line, and how many are in a zone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal, NamedTuple, get_args

import cv2
import numpy as np

from detkit.inference.result import Result
from detkit.utils.errors import ConfigError
from detkit.visualization.drawing import font_size, line_width
from detkit.visualization.palette import text_colour
from detkit.visualization.text import draw_text

Anchor = Literal['center', 'bottom']
# An object has crossed a line when it is farther from it than this share of the image's diagonal.
_MARGIN = 0.005
_LEAST_SIDE = 2  # pixels; nothing smaller is meant
_FORGOTTEN = 60.0  # seconds after which a track that is gone is forgotten
_COLOUR = (255, 200, 40)


@dataclass(frozen=True)
class Area:
    """A line of two points, or a zone of three or more.

    Attributes:
        name: its name in the results.
        points: (x, y) in pixels; in shares of the image's width and height where none is above 1.

    Raises:
        ConfigError: there are too few points, one is no pair of numbers or is there twice, or nothing could be counted
            by them.
    """

    name: str
    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if len(self.points) < 2:
            raise ConfigError(f'{self.name} has {len(self.points)} points; a line has two, a zone at least three')
        try:
            points = np.array(self.points, np.float64)
        except (TypeError, ValueError):
            points = np.empty(0)
        if points.shape != (len(self.points), 2) or not np.isfinite(points).all():
            raise ConfigError(f'{self.name} has a point that is no pair of numbers: {self.points}')
        if len(np.unique(points, axis=0)) < len(points):
            raise ConfigError(f'{self.name} has a point twice: {self.points}')
        if not _are_shares(points) and np.ptp(points, axis=0).max() < _LEAST_SIDE:
            raise ConfigError(
                f'{self.name} is smaller than {_LEAST_SIDE} pixels: {self.points}; shares of the width and height are '
                'from 0 to 1'
            )
        if self.is_line:
            return
        if np.linalg.matrix_rank(points - points[0]) < 2:
            raise ConfigError(f'the zone {self.name} has no area, as its points lie on one line: {self.points}')
        sides = list(zip(points, np.roll(points, -1, 0), strict=True))
        for (i, first), (j, second) in combinations(enumerate(sides), 2):
            if _cross_each_other(*first, *second):
                raise ConfigError(
                    f'sides of the zone {self.name} cross: that from point {i + 1} and that from point {j + 1} of '
                    f'{self.points}; give its corners in the order in which its border passes them'
                )

    @property
    def is_line(self) -> bool:
        """Whether it is a line."""
        return len(self.points) == 2

    def pixels(self, shape: tuple[int, int]) -> np.ndarray:
        """Return the points ``(P, 2)`` in pixels of an image of (h, w)."""
        points = np.array(self.points, np.float64)
        return points * shape[::-1] if _are_shares(points) else points

    def check_inside(self, shape: tuple[int, int]) -> None:
        """Raise ``ConfigError`` where no part of it lies in frames of (h, w), so that nothing could be counted."""
        points = self.pixels(shape)
        edges = [points] if self.is_line else zip(points, np.roll(points, -1, 0), strict=True)
        if any(_meets_frame(start, end, shape) for start, end in edges):
            return
        if self.is_line or cv2.pointPolygonTest(points.astype(np.float32), (0.0, 0.0), False) < 0:
            corners = ' '.join(f'{x:g},{y:g}' for x, y in points)
            raise ConfigError(
                f'the {"line" if self.is_line else "zone"} {self.name} ({corners}) is wholly outside of the frames, '
                f'which are {shape[1]} x {shape[0]} pixels; give points in pixels of the frame or in shares from 0 to 1'
            )


def parse_area(name: str, points: Sequence[str], line: bool) -> Area:
    """Return the area of a name and texts such as '120,40'.

    Raises:
        ConfigError: the name is a number or a point, a point is no pair of numbers, or there are too few or too many.
    """
    if re.fullmatch(r'-?[\d.]+(,-?[\d.]+)?', name):
        raise ConfigError(f"an area begins with {name!r}, but it begins with its name: 'gate 0.1,0.5 0.9,0.5'")
    pairs = []
    for text in points:
        found = re.fullmatch(r'(-?[\d.]+),(-?[\d.]+)', text)
        try:
            pairs.append((float(found[1]), float(found[2])) if found else None)
        except ValueError:
            pairs.append(None)
        if pairs[-1] is None:
            raise ConfigError(f'{name} has the point {text!r}, but a point is x,y such as 120,40 or 0.5,0.25')
    if line != (len(pairs) == 2) or len(pairs) < 2:
        wanted = 'a line has two points' if line else 'a zone has at least three points'
        raise ConfigError(f'{name} has {len(pairs)} points; {wanted}')
    return Area(name, tuple(pairs))


class CountEvent(NamedTuple):
    """An object that passes an area: ``event`` is 'in' or 'out' at a line, 'enter' or 'leave' at a zone."""

    seconds: float
    frame: int
    area: str
    event: str
    track_id: int
    name: str


@dataclass
class _Seen:
    """Where a track was at an area: the last point that is surely on one side, and that side."""

    seconds: float
    point: np.ndarray
    side: int
    counted: set[str] = field(default_factory=set)  # what it did at a zone


@dataclass
class _Count:
    area: Area
    points: np.ndarray
    events: dict[str, Counter] = field(default_factory=dict)
    seen: dict[int, _Seen] = field(default_factory=dict)
    now: int = 0
    most: int = 0


class AreaCounter:
    """The counts of one video.

    A line from its first to its second point is crossed 'in' by an object that goes to its right-hand side, 'out' by
    one that goes to its left-hand side. An object counts at its anchor. In a zone each track counts once,
    as one that entered and as one that left.

    Args:
        areas: lines and zones, of different names.
        shape: (h, w) of the first frame. Frames of another size are taken for the same view.
        anchor: 'center' of the box, or the middle of its 'bottom', where objects touch the ground.

    Raises:
        ConfigError: two areas have one name, one is wholly outside of the frames, there is no such anchor, or no shape.
    """

    def __init__(self, areas: Sequence[Area], shape: tuple[int, int], anchor: Anchor = 'center') -> None:
        if anchor not in get_args(Anchor):
            raise ConfigError(f"anchor is {anchor!r}, but must be 'center' or 'bottom'")
        check_areas(areas)
        if shape is None:
            raise ConfigError(
                'the shape of the first frame is None, as that of a result with an error is; begin with the first '
                'result whose error is None'
            )
        for area in areas:
            area.check_inside(shape)
        self._anchor, self._shape = anchor, shape
        self._margin = _MARGIN * float(np.hypot(*shape))
        self._counts = [_Count(area, area.pixels(shape)) for area in areas]
        for count in self._counts:
            names = ('in', 'out') if count.area.is_line else ('enter', 'leave')
            count.events = {name: Counter() for name in names}

    def update(self, result: Result) -> list[CountEvent]:
        """Count the tracked objects of the next frame, and return what happened."""
        if result.track_ids is None:
            raise ConfigError('objects are counted by their tracks; take results of Detector.track')
        bboxes = result.bboxes.astype(np.float64)
        if result.img_shape is not None:
            bboxes *= self._scale(result.img_shape)
        points = (bboxes[:, :2] + bboxes[:, 2:]) / 2
        if self._anchor == 'bottom':
            points[:, 1] = bboxes[:, 3]
        events = []
        for count in self._counts:
            inside = 0
            for track, point, name in zip(result.track_ids.tolist(), points, result.names, strict=True):
                event = self._cross(count, track, point, result.seconds)
                inside += not count.area.is_line and count.seen[track].side == 1
                if event is None:
                    continue
                if event not in count.seen[track].counted:
                    count.events[event][name] += 1
                if not count.area.is_line:
                    count.seen[track].counted.add(event)
                events.append(CountEvent(result.seconds, result.frame, count.area.name, event, track, name))
            count.now, count.most = inside, max(count.most, inside)
            gone = [track for track, seen in count.seen.items() if seen.seconds < result.seconds - _FORGOTTEN]
            for track in gone:
                del count.seen[track]
        return events

    def _scale(self, shape: tuple[int, int]) -> np.ndarray:
        """Return the factors of x0, y0, x1 and y1 that take a frame of (h, w) to the size of the first one."""
        return np.array([self._shape[1] / shape[1], self._shape[0] / shape[0]] * 2)

    def _cross(self, count: _Count, track: int, point: np.ndarray, seconds: float) -> str | None:
        """Note where a track is, and return what it did."""
        if count.area.is_line:
            side, event = self._cross_line(count, track, point)
        else:
            side = 1 if cv2.pointPolygonTest(count.points.astype(np.float32), point.tolist(), False) >= 0 else -1
            before = count.seen[track].side if track in count.seen else -1
            event = None if side == before else 'enter' if side == 1 else 'leave'
        seen = count.seen.setdefault(track, _Seen(seconds, point, side))
        seen.seconds = seconds
        if side:
            seen.point, seen.side = point, side
        return event

    def _cross_line(self, count: _Count, track: int, point: np.ndarray) -> tuple[int, str | None]:
        start, end = count.points
        along = end - start
        distance = _cross_product(along, point - start) / np.hypot(*along)
        side = 0 if abs(distance) <= self._margin else int(np.sign(distance))
        before = count.seen.get(track)
        if not side or before is None or not before.side or before.side == side:
            return side, None
        step = point - before.point
        share = _cross_product(before.point - start, step) / _cross_product(along, step)
        return side, ('in' if side == 1 else 'out') if 0 <= share <= 1 else None

    def draw(self, img: np.ndarray) -> np.ndarray:
        """Return a copy of a frame with the areas and their counts."""
        img = np.ascontiguousarray(img).copy()
        size, width = font_size(img.shape[:2]), line_width(img.shape[:2])
        for count in self._counts:
            points = count.points / self._scale(img.shape[:2])[:2]
            corners = np.rint(points * 16).astype(np.int32)
            cv2.polylines(img, [corners], not count.area.is_line, _COLOUR, width, cv2.LINE_AA, shift=4)
            if count.area.is_line:
                totals = [f'{event} {counts.total()}' for event, counts in count.events.items()]
            else:
                totals = [f'{count.now} now', f'{count.events["enter"].total()} in all']
            x, y = np.rint(points.mean(0)).astype(int).tolist()
            place = (min(max(x, 0), img.shape[1] - 1), min(max(y, 0), img.shape[0] - 1))
            draw_text(img, f'{count.area.name}: {", ".join(totals)}', place, size, text_colour(_COLOUR), _COLOUR, 2)
        return img

    def summary(self) -> dict[str, Any]:
        """Return the counts of each line and zone by class.

        Returns:
            ``{'lines': {name: {'in': {class: n}, 'out': …}}, 'zones': {name: {'enter': …, 'leave': …, 'most': n}}}``;
            'most' are the objects that were in a zone at a time.
        """
        lines, zones = {}, {}
        for count in self._counts:
            events = {event: dict(counts.most_common()) for event, counts in count.events.items()}
            if count.area.is_line:
                lines[count.area.name] = events
            else:
                zones[count.area.name] = {**events, 'most': count.most}
        return {'lines': lines, 'zones': zones}


def check_areas(areas: Sequence[Area]) -> None:
    """Raise ``ConfigError`` where there are none, or two of one name."""
    if not areas:
        raise ConfigError('nothing is counted without a line or a zone; give one')
    repeated = [name for name, number in Counter(area.name for area in areas).items() if number > 1]
    if repeated:
        raise ConfigError(f'two lines or zones are named {repeated[0]!r}; give each a name of its own')


def _meets_frame(start: np.ndarray, end: np.ndarray, shape: tuple[int, int]) -> bool:
    """Return whether a part of the way between two points lies in a frame of (h, w) (Liang and Barsky, 1984)."""
    first, last = 0.0, 1.0
    for begin, step, limit in zip(start, end - start, shape[::-1], strict=True):
        if step == 0:
            if not 0 <= begin <= limit:
                return False
            continue
        enters, leaves = sorted((-begin / step, (limit - begin) / step))
        first, last = max(first, enters), min(last, leaves)
    return first <= last


def _are_shares(points: np.ndarray) -> bool:
    """Return whether points are shares of an image's width and height, and not pixels."""
    return bool(((points >= 0) & (points <= 1)).all())


def _cross_each_other(start: np.ndarray, end: np.ndarray, other_start: np.ndarray, other_end: np.ndarray) -> bool:
    """Return whether two ways cross at a point that is an end of neither."""
    first = [np.sign(_cross_product(end - start, point - start)) for point in (other_start, other_end)]
    second = [np.sign(_cross_product(other_end - other_start, point - other_start)) for point in (start, end)]
    return first[0] * first[1] < 0 and second[0] * second[1] < 0


def _cross_product(first: np.ndarray, second: np.ndarray) -> float:
    return float(first[0] * second[1] - first[1] * second[0])
