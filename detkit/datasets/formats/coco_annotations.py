"""From the columns of a COCO file's annotations to the objects of its images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields

import numpy as np

from detkit.datasets.box_forms import BEYOND, CORNERS, KEYPOINT_OUT, keypoints_beyond, look_like_corners, reach_beyond
from detkit.datasets.flat_annotations import FlatAnnotations
from detkit.datasets.formats.coco_columns import Columns, read_columns
from detkit.datasets.formats.coco_hulls import compare_with_hulls
from detkit.datasets.formats.coco_ids import indices_of, kinds_of, typed_id, value_at
from detkit.datasets.formats.coco_images import CocoImages
from detkit.datasets.formats.coco_json import show
from detkit.datasets.formats.coco_segmentations import LIMIT
from detkit.datasets.repeats import alike_rows
from detkit.datasets.shares import ALL_SHARES, FEW_PIXELS, are_shares
from detkit.datasets.skips import Skip
from detkit.structures.polygons import Polygons

__all__ = ['CocoObjects', 'select_objects']

_ODD_OUTLINE = (
    'a ring of an outline that is not three points or more, or an outline without a width, a height or a pixel: it is '
    'left out, the box is kept'
)
_NO_BOX = 'no bbox: the box around its outline or bitmap is used'
_ODD_AREA = 'an area that is 0 or no number of pixels: the area of the outline, or of the box, is used'
_IGNORE = 'ignore=1: the object is not learnt and metrics do not count it, as a crowd (pycocotools reads iscrowd alone)'
_OUTSIDE = 'a ring of an outline of which nothing lies inside the image: it is left out, the box is kept'
_OTHER_BOX = (
    'a bbox that is far from the box around its outline (IoU below 0.5): training takes the latter, metrics the former'
)
# Entries with the same fault that are listed one by one.
_MOST_LISTED = 1000


@dataclass
class CocoObjects:
    """The objects of a file.

    Attributes:
        flat: sorted by image.
        skipped, unused: what was left out.
        other_classes: how many objects the classes have that were not asked for, by category id.
        counts: how many objects the other classes have, by category id.
    """

    flat: FlatAnnotations
    skipped: list[Skip] = field(default_factory=list)
    unused: list[Skip] = field(default_factory=list)
    other_classes: Counter = field(default_factory=Counter)
    counts: Counter = field(default_factory=Counter)


def select_objects(
    parts: list[Columns],
    images: CocoImages,
    labels_by_category: Mapping[int | float | str, int | None],
    ann_file: str,
    num_keypoints: int | None = None,
) -> CocoObjects:
    """Return the objects of a file; those that break a rule are dropped alone.

    Args:
        parts: the annotations in their order; their points are given up on the way, which bounds the memory needed.
        images: the images that objects may belong to. Objects of images that are listed but not used go without a word.
        labels_by_category: the label of each of the file's category ids, None for classes that were not chosen.
        ann_file: the file's name, for the reports.
        num_keypoints: K, to read that many keypoints of every object; None to read none.
    """
    parts = parts or [read_columns([])]
    return _Selection(parts, images, labels_by_category, ann_file, num_keypoints).result()


class _Selection:
    """The state of ``select_objects``: M annotations, and which of them are kept."""

    def __init__(
        self,
        parts: list[Columns],
        images: CocoImages,
        labels_by_category: Mapping[int | float | str, int | None],
        ann_file: str,
        num_keypoints: int | None,
    ) -> None:
        self.parts, self.ann_file, self.num_keypoints = parts, ann_file, num_keypoints
        self.skipped: list[Skip] = []
        self.unused: list[Skip] = []
        self.starts = np.cumsum([0, *map(len, parts)])
        self.columns = {
            name.name: np.concatenate([getattr(part, name.name) for part in parts])
            for name in fields(Columns)
            if name.name not in ('points', 'rle_counts', 'problems')
        }
        for name in ('ring_owners', 'rle_owners'):
            self.columns[name] = np.concatenate(
                [getattr(part, name) + start for part, start in zip(parts, self.starts[:-1], strict=True)]
            )
        self.problems = {
            number + int(start): problem
            for part, start in zip(parts, self.starts[:-1], strict=True)
            for number, problem in part.problems.items()
        }
        self.kept = np.ones(int(self.starts[-1]), bool)
        self.shapes = images.shape_array()
        self.images = indices_of(self.columns['image_ids'], images.numbers)
        self.other_classes = self._choose(images, labels_by_category)
        self._check()

    def _choose(self, images: CocoImages, labels_by_category: Mapping[int | float | str, int | None]) -> Counter:
        """Drop annotations of unknown images and categories; return how many of each class were not asked for."""
        image_ids, category_ids = self.columns['image_ids'], self.columns['category_ids']
        unused = dict.fromkeys(images.listed - images.numbers.keys(), 0)
        self.kept &= indices_of(image_ids, unused) < 0
        expected = f'whose ids are {kinds_of(images.listed)}'
        self.drop(
            self.images < 0,
            lambda i: f'image_id {typed_id(value_at(image_ids, i))} is not among the images, {expected}',
            'an image_id that is not among the images',
        )
        categories = list(labels_by_category)
        numbers = indices_of(category_ids, {own: number for number, own in enumerate(categories)})
        expected = f'whose ids are {kinds_of(categories)}'
        self.drop(
            numbers < 0,
            lambda i: f'category_id {typed_id(value_at(category_ids, i))} is not a category of the file, {expected}',
            'a category_id that is not a category of the file',
        )
        labels = np.array([-1 if own is None else own for own in labels_by_category.values()] or [-1], np.int64)
        self.labels, self.categories = labels[numbers], numbers
        other = self.kept & (self.labels < 0)
        self.kept &= ~other
        self.category_ids = categories
        return self._count(other)

    def _count(self, rows: np.ndarray) -> Counter:
        """Return how many of the annotations in ``rows``, ``(M,)`` bool, have each category, by its id."""
        counts = np.bincount(self.categories[rows], minlength=len(self.category_ids))
        return Counter({own: int(count) for own, count in zip(self.category_ids, counts, strict=True) if count})

    def _check(self) -> None:
        columns = self.columns
        bboxes = columns['bboxes_xywh']
        bad = np.zeros(len(self.kept), bool)
        bad[list(self.problems)] = True
        self.drop(bad)
        self.drop(
            self._shares(bboxes),
            lambda i: f'bbox {bboxes[i].tolist()} {ALL_SHARES}',
            f'a bbox that {ALL_SHARES}',
        )
        self.drop(
            ~(bboxes[:, 2:] > 0).all(1),
            lambda i: f'bbox {bboxes[i].tolist()} has no width or no height',
            'a bbox that has no width or no height',
        )
        xyxy = np.concatenate([bboxes[:, :2], bboxes[:, :2] + bboxes[:, 2:]], 1)
        size_wh = np.zeros((len(bboxes), 2), np.int64)
        size_wh[self.kept] = self.shapes[self.images[self.kept]][:, ::-1]
        self.drop(
            ~((xyxy[:, :2] < size_wh).all(1) & (xyxy[:, 2:] > 0).all(1)),
            lambda i: f'bbox {bboxes[i].tolist()} lies outside the image',
            'a bbox that lies outside the image',
        )
        owners = columns['rle_owners']
        wrong = np.zeros(len(bboxes), bool)
        wrong[owners] = (columns['rle_sizes'] != size_wh[owners][:, ::-1]).any(1)
        sizes = dict(zip(owners[wrong[owners]].tolist(), columns['rle_sizes'][wrong[owners]].tolist(), strict=True))
        self.drop(
            wrong,
            lambda i: (
                f'a segmentation that is a bitmap of the size {sizes[i]} (h, w), where the image has '
                f'{size_wh[i, ::-1].tolist()}'
            ),
            'a segmentation that is a bitmap of another size than the image',
        )
        self.bboxes = xyxy
        self.outside = self._rings_outside(size_wh)
        self._check_form(bboxes, xyxy, size_wh)
        if self.num_keypoints is not None:
            self._check_keypoints(self.num_keypoints)

    def _check_form(self, bboxes: np.ndarray, xyxy: np.ndarray, size_wh: np.ndarray) -> None:
        """Drop boxes that are written as x0, y0, x1, y1; keep which ones reach out or differ from what is drawn."""
        hulls = np.concatenate([part.hulls() for part in self.parts]).clip(0, np.tile(size_wh, 2))  # NaN stays NaN
        hulls[self.columns['crowds'] | ~self.kept] = np.nan
        hulls[self.columns['ring_owners'][self.outside]] = np.nan
        drawn = np.isfinite(hulls[:, 0])
        self.other_box, corners = compare_with_hulls(bboxes, hulls)
        if 2 * corners.sum() > drawn.sum():
            self.drop(
                corners,
                lambda i: f'bbox {bboxes[i].tolist()} is x0, y0, x1, y1 of its outline, not x, y, width, height',
                'a bbox that is x0, y0, x1, y1 of its outline, not x, y, width, height',
            )
        self.beyond = self.kept & reach_beyond(xyxy, size_wh)
        others = self.kept & ~drawn
        if look_like_corners(bboxes[others], self.beyond[others]):
            self.drop(others, lambda i: f'bbox {bboxes[i].tolist()} {CORNERS}', f'a bbox that {CORNERS}')

    def _rings_outside(self, size_wh: np.ndarray) -> np.ndarray:
        """Return ``(R,)`` bool: the rings of kept annotations of which nothing lies inside the image.

        Args:
            size_wh: ``(M, 2)``, the sizes of the annotations' images.
        """
        outside, first = np.zeros(len(self.columns['ring_owners']), bool), 0
        for part in self.parts:
            sizes, points = part.ring_sizes, part.points
            rings = slice(first, first + len(sizes))
            first = rings.stop
            if not len(sizes):
                continue
            starts, owners = np.cumsum(sizes) - sizes, self.columns['ring_owners'][rings]
            limits = np.repeat(size_wh[owners].astype(points.dtype), sizes, axis=0)
            within = ((points > 0) & (points < limits)).all(1)
            on_image = ((points >= 0) & (points <= limits)).all(1)
            seen = np.logical_or.reduceat(within, starts) | np.logical_and.reduceat(on_image, starts)
            for i in np.flatnonzero(~seen & self.kept[owners]).tolist():  # few: others have a point inside
                ring = Polygons(points[starts[i] : starts[i] + sizes[i]], sizes[i : i + 1], np.zeros(1, np.int64))
                outside[first - len(sizes) + i] = not ring.seen_in((0, 0, *size_wh[owners[i]])).all()
        return outside

    def _shares(self, bboxes: np.ndarray) -> np.ndarray:
        """Return ``(M,)`` bool: all boxes of the file where none reaches beyond the first pixels of its image."""
        known = np.isfinite(bboxes).all(1)
        if not known.any() or not are_shares(bboxes[known]):
            return np.zeros(len(bboxes), bool)
        # An image of a few pixels may have such boxes.
        return known & self.kept & (self.shapes[self.images].min(1) > FEW_PIXELS) if len(self.shapes) else known

    def _check_keypoints(self, num_keypoints: int) -> None:
        counts, values = self.columns['keypoint_counts'], self.columns['keypoint_values']
        expected = f'keypoint values, where {num_keypoints} keypoints have {3 * num_keypoints}'
        self.drop(
            (counts != 0) & (counts != 3 * num_keypoints),
            lambda i: f'{counts[i]} {expected}',
            f'another number of {expected}',
        )
        wrong = np.zeros(len(counts), bool)
        wrong[np.repeat(np.arange(len(counts)), counts)[~(np.abs(values) < LIMIT)]] = True
        self.drop(wrong, None, 'keypoints that are no numbers')
        third = (np.arange(len(values)) - np.repeat(np.cumsum(counts) - counts, counts)) % 3 == 2
        wrong[np.repeat(np.arange(len(counts)), counts)[third & ~np.isin(values, (0, 1, 2))]] = True
        self.drop(wrong, None, 'a visibility of a keypoint that is not 0, 1 or 2')

    def drop(self, mask: np.ndarray, describe: Callable[[int], str] | None = None, kind: str = '') -> None:
        """Take annotations out that are still kept, and note why."""
        bad = np.flatnonzero(mask & self.kept)
        self.kept[bad] = False
        if not len(bad):
            return
        for i in bad[:_MOST_LISTED].tolist():
            known = self.problems.get(i)
            reason, own_kind = known if known is not None else (describe(i) if describe else kind, kind)
            self.skipped.append(Skip(self.ann_file, self.where(i), reason, own_kind))
        if len(bad) > _MOST_LISTED:
            more = len(bad) - _MOST_LISTED
            self.skipped.append(Skip(self.ann_file, 'further annotations', kind or reason, count=more))

    def where(self, i: int) -> str:
        own, image = value_at(self.columns['ids'], i), value_at(self.columns['image_ids'], i)
        if own is None and image is None:
            return f'annotation number {i}'
        return f'annotation {show(own)} of image {show(image)}'

    def note_unused(self, mask: np.ndarray, reason: str) -> None:
        """List annotations that are used in part, or not at all, though nothing but this is wrong with them."""
        rows = np.flatnonzero(mask)
        self.unused += [Skip(self.ann_file, self.where(i), reason) for i in rows[:_MOST_LISTED].tolist()]
        if len(rows) > _MOST_LISTED:
            self.unused.append(Skip(self.ann_file, 'further annotations', reason, count=len(rows) - _MOST_LISTED))

    # -- putting together ----------------------------------------------------------------------------------------

    def result(self) -> CocoObjects:
        repeats = self._repeats()
        self.note_unused(repeats, 'the same as an earlier annotation')
        self.kept &= ~repeats
        for name, reason in (
            ('derived_bboxes', _NO_BOX),
            ('ignore_flags', _IGNORE),
            ('odd_areas', _ODD_AREA),
            ('odd_outlines', _ODD_OUTLINE),
        ):
            self.note_unused(self.columns[name] & self.kept, reason)
        outside = np.zeros(len(self.kept), bool)
        outside[self.columns['ring_owners'][self.outside]] = True
        self.note_unused(outside & self.kept, _OUTSIDE)
        self.note_unused(self.beyond & self.kept, BEYOND)
        self.note_unused(self.other_box & self.kept, _OTHER_BOX)
        rows = np.flatnonzero(self.kept)
        rows = rows[np.argsort(self.images[rows], kind='stable')]
        rank = np.full(len(self.kept), -1, np.int64)
        rank[rows] = np.arange(len(rows))
        ring_owners, ring_sizes, points = self._rings(rank)
        rle_owners, rle_counts = self._rles(rank)
        keypoints = None if self.num_keypoints is None else self._keypoints(rows, self.num_keypoints)
        if keypoints is not None:
            outside = np.zeros(len(self.kept), bool)
            outside[rows] = keypoints_beyond(keypoints, self.shapes[self.images[rows], ::-1])
            self.note_unused(outside, KEYPOINT_OUT)
        flat = FlatAnnotations(
            images=self.images[rows],
            labels=self.labels[rows],
            bboxes=self.bboxes[rows],
            ring_owners=ring_owners,
            ring_sizes=ring_sizes,
            points=points,
            ignored=self.columns['crowds'][rows],
            areas=self.columns['areas'][rows],
            rle_owners=rle_owners,
            rle_counts=rle_counts,
            keypoints=keypoints,
        )
        return CocoObjects(flat, self.skipped, self.unused, self.other_classes, self._count(self.kept))

    def _rings(self, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return owners, sizes and points of the rings of kept objects, in the order of ``rank``."""
        owners, sizes = rank[self.columns['ring_owners']], self.columns['ring_sizes']
        owners[self.outside] = -1
        order = np.argsort(owners, kind='stable')
        order = order[np.searchsorted(owners[order], 0) :]
        targets = np.full(len(sizes), -1, np.int64)
        targets[order] = np.cumsum(sizes[order]) - sizes[order]
        points = np.empty((int(sizes[order].sum()), 2), np.float32)
        pairs, first = points.view(np.complex64), 0  # moved as one
        for part in self._take_parts():
            own_sizes = part.ring_sizes
            own_targets = targets[first : first + len(own_sizes)]
            first += len(own_sizes)
            index = np.arange(len(part.points)) + np.repeat(own_targets - (np.cumsum(own_sizes) - own_sizes), own_sizes)
            own = part.points.view(np.complex64)
            if (own_targets < 0).any():
                keep = np.repeat(own_targets >= 0, own_sizes)
                index, own = index[keep], own[keep]
            pairs[index] = own
        return owners[order], sizes[order], points

    def _take_parts(self) -> Iterator[Columns]:
        """Yield the parts, the points of each being free to go when the next one is asked for."""
        for part in self.parts:
            yield part
            part.points = part.points[:0]

    def _rles(self, rank: np.ndarray) -> tuple[np.ndarray, list[bytes]]:
        owners = rank[self.columns['rle_owners']]
        counts = [text for part in self.parts for text in part.rle_counts]
        order = np.argsort(owners, kind='stable')
        order = order[np.searchsorted(owners[order], 0) :]
        return owners[order], [counts[i] for i in order.tolist()]

    def _keypoints(self, rows: np.ndarray, num_keypoints: int) -> np.ndarray:
        """Return ``(N, K, 3)``; an object without keypoints (a crowd) has unlabelled ones."""
        counts, values = self.columns['keypoint_counts'], self.columns['keypoint_values']
        starts = np.cumsum(counts) - counts
        keypoints = np.zeros((len(rows), 3 * num_keypoints))
        has = counts[rows] > 0
        index = starts[rows[has], None] + np.arange(3 * num_keypoints)
        keypoints[has] = values[index]
        keypoints = keypoints.reshape(len(rows), num_keypoints, 3)
        return keypoints * (keypoints[..., 2:] > 0)

    def _repeats(self) -> np.ndarray:
        """Return ``(M,)`` bool: objects that have image, class, box, outline and keypoints of an earlier one."""
        repeats = np.zeros(len(self.kept), bool)
        rows = np.flatnonzero(self.kept)
        keys = np.column_stack(
            [self.images[rows], self.categories[rows], self.columns['crowds'][rows], self.columns['bboxes_xywh'][rows]]
        )
        candidates = alike_rows(keys)
        keypoints = self._keypoints(rows[candidates], self.num_keypoints or 0)
        seen: set[tuple] = set()
        for i, key, points in zip(rows[candidates].tolist(), keys[candidates].tolist(), keypoints, strict=True):
            whole = (*key, *self._outline(i), points.tobytes())
            repeats[i] = whole in seen
            seen.add(whole)
        return repeats

    def _outline(self, i: int) -> tuple[bytes, bytes, bytes]:
        """Return sizes and points of an object's rings, and its bitmap."""
        number = int(np.searchsorted(self.starts, i, 'right')) - 1
        part, i = self.parts[number], i - int(self.starts[number])
        first, last = np.searchsorted(part.ring_owners, [i, i + 1])
        start, stop = part.ring_sizes[:first].sum(), part.ring_sizes[:last].sum()
        place = int(np.searchsorted(part.rle_owners, i))
        has_rle = place < len(part.rle_owners) and part.rle_owners[place] == i
        rle = part.rle_counts[place] if has_rle else b''
        return part.ring_sizes[first:last].tobytes(), part.points[start:stop].tobytes(), rle
