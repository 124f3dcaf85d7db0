"""``InstanceMasks``: predicted masks, each kept only inside its box, and their conversion to COCO's formats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
import torch
from pycocotools import mask as coco_mask

# Pixels laid out at a time by ``to_rle``: bounds its memory whatever the number and size of the masks.
_CHUNK_PIXELS = 1 << 23


@runtime_checkable
class DeferredCrops(Protocol):
    """The crops of N masks that are not computed yet.

    Attributes:
        sizes: ``(N, 2)`` int64, (h, w) of each crop.
    """

    sizes: np.ndarray

    def choose(self, indices: np.ndarray) -> DeferredCrops:
        """Return those of some masks, by index ``(n,)``."""
        ...

    def draw(self) -> list[np.ndarray]:
        """Compute the N bool arrays ``(h, w)``."""
        ...


class InstanceMasks:
    """The binary masks of N objects of one image, stored as crops.

    A mask is a bitmap ``crop`` whose top left pixel lies at ``offset`` of the image; everything outside is background.
    Memory and time therefore follow the objects' areas, not N times the image's.

    Args:
        crops: N bool arrays ``(h, w)``; h and w differ from object to object and may be 0. ``DeferredCrops`` are
            computed when they are first asked for.
        offsets: ``(N, 2)`` integers, x and y of every crop's top left pixel in the image.
        img_shape: (h, w) of the image.

    Raises:
        ValueError: when the counts differ or a crop reaches beyond the image.
    """

    def __init__(
        self, crops: Sequence[np.ndarray] | DeferredCrops, offsets: np.ndarray, img_shape: tuple[int, int]
    ) -> None:
        self._deferred = crops if isinstance(crops, DeferredCrops) else None
        self._crops = [np.asarray(crop, bool) for crop in crops] if self._deferred is None else None
        self.offsets = np.asarray(offsets, np.int64).reshape(-1, 2)
        self.img_shape = (int(img_shape[0]), int(img_shape[1]))
        if self._crops is not None and any(crop.ndim != 2 for crop in self._crops):
            raise ValueError('every crop must be a (h, w) array')
        sizes = self._sizes()
        if len(self.offsets) != len(sizes):
            raise ValueError(f'{len(sizes)} crops but {len(self.offsets)} offsets')
        ends = self.offsets + sizes[:, ::-1]
        if len(self) and ((self.offsets < 0).any() or (ends > np.array(self.img_shape[::-1])).any()):
            raise ValueError(f'a crop reaches beyond the image of {self.img_shape} (h, w)')

    @classmethod
    def from_bool(cls, masks: np.ndarray) -> InstanceMasks:
        """Build from full frames ``(N, H, W)``, cropped to the area they cover."""
        masks = np.asarray(masks, bool)
        crops, offsets = [], []
        for mask in masks:
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            y0, y1 = (rows[0], rows[-1] + 1) if len(rows) else (0, 0)
            x0, x1 = (columns[0], columns[-1] + 1) if len(rows) else (0, 0)
            crops.append(mask[y0:y1, x0:x1].copy())
            offsets.append((x0, y0))
        return cls(crops, np.array(offsets, np.int64).reshape(-1, 2), masks.shape[1:])

    @staticmethod
    def cat(parts: Sequence[InstanceMasks]) -> InstanceMasks:
        """Concatenate masks of one image shape (``InstanceData`` calls this by name)."""
        shapes = {part.img_shape for part in parts}
        if len(shapes) != 1:
            raise ValueError(f'masks of images of different shapes cannot be joined: {sorted(shapes)}')
        return InstanceMasks(
            [crop for part in parts for crop in part.crops],
            np.concatenate([part.offsets for part in parts]),
            shapes.pop(),
        )

    @property
    def crops(self) -> list[np.ndarray]:
        """The N bitmaps, bool ``(h, w)``."""
        deferred = self._deferred
        if deferred is not None:  # another thread may compute the same meanwhile
            self._crops = deferred.draw()
            self._deferred = None
        return self._crops

    def __len__(self) -> int:
        return len(self.offsets)

    def __iter__(self) -> Iterator[InstanceMasks]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f'InstanceMasks({len(self)} masks, img_shape={self.img_shape})'

    def __getitem__(self, index: int | slice | Sequence | np.ndarray | torch.Tensor) -> InstanceMasks:
        """Return chosen masks; an integer keeps the first dimension, so the result is always ``InstanceMasks``."""
        if isinstance(index, torch.Tensor):
            index = index.detach().cpu().numpy()
        index = np.asarray(index, np.int64) if isinstance(index, list | tuple) and not len(index) else index
        chosen = np.atleast_1d(np.arange(len(self))[index])
        deferred = self._deferred
        crops = [self.crops[i] for i in chosen] if deferred is None else deferred.choose(chosen)
        return InstanceMasks(crops, self.offsets[chosen], self.img_shape)

    @property
    def areas(self) -> np.ndarray:
        """``(N,)`` int64, the pixels of every mask."""
        return np.array([np.count_nonzero(crop) for crop in self.crops], np.int64)

    def to_bool(self) -> np.ndarray:
        """Return ``(N, H, W)`` bool, the full frames."""
        frames = np.zeros((len(self), *self.img_shape), bool)
        for frame, crop, (x, y) in zip(frames, self.crops, self.offsets, strict=True):
            frame[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
        return frames

    def to_rle(self) -> list[dict]:
        """Return COCO's compressed run-length encoding: per mask ``{'size': [H, W], 'counts': bytes}``.

        The same bytes as ``pycocotools.mask.encode`` of the full frames, without ever making those.
        """
        sizes = self._sizes()
        # A row of background under every crop makes each run end within its own column.
        footprints = sizes[:, 1] * (sizes[:, 0] + 1)
        rles, first = [], 0
        while first < len(self):
            stop = first + max(1, int(np.searchsorted(np.cumsum(footprints[first:]), _CHUNK_PIXELS, 'right')))
            rles += self._encode(first, stop, sizes[first:stop], footprints[first:stop])
            first = stop
        return rles

    def to_polygons(self, tolerance: float = 0.0) -> list[list[np.ndarray]]:
        """Return outlines in continuous coordinates: per mask a list of ``(P, 2)`` float32 rings, one a connected part.

        Holes are not kept. Rings run along the pixels' edges, so that filling them gives the mask back.

        Args:
            tolerance: how far, in pixels, a simplified ring may stray from the exact one; 0 keeps it exact.
        """
        polygons = []
        for crop, offset in zip(self.crops, self.offsets, strict=True):
            # Contours visit pixel centres. On a mask enlarged twice, even centres belong to the left or upper edge of a
            # pixel and odd ones to the right or lower edge: (k + 1) // 2 is the edge itself.
            doubled = crop.astype(np.uint8).repeat(2, 0).repeat(2, 1)
            contours = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0] if doubled.size else ()
            rings = []
            for ring in _without_collinear([contour.reshape(-1, 2) for contour in contours], offset):
                if tolerance > 0:
                    ring = cv2.approxPolyDP(ring[:, None], tolerance, True)[:, 0]
                if len(ring) >= 3:
                    rings.append(ring)
            polygons.append(rings)
        return polygons

    def _sizes(self) -> np.ndarray:
        deferred = self._deferred
        if deferred is not None:
            return deferred.sizes
        return np.array([crop.shape for crop in self.crops], np.int64).reshape(-1, 2)

    def _encode(self, first: int, stop: int, sizes: np.ndarray, footprints: np.ndarray) -> list[dict]:
        """Return ``to_rle`` of the masks ``first`` to ``stop``, all at once."""
        img_h, img_w = self.img_shape
        starts = np.cumsum(footprints) - footprints
        flat = np.zeros(footprints.sum() + 1, bool)  # one column of one mask after the other
        for crop, start, (h, w) in zip(self.crops[first:stop], starts, sizes, strict=True):
            flat[start : start + w * (h + 1)].reshape(w, h + 1)[:, :h] = crop.T
        # Positions where background and mask change: begin and end of a run in turn. The last element of ``flat`` is
        # background, hence position 0 is compared with it.
        changes = np.flatnonzero(flat != np.roll(flat, 1)) if flat.any() else np.zeros(0, np.int64)
        owners = np.searchsorted(starts, changes, 'right') - 1
        columns, rows = np.divmod(changes - starts[owners], sizes[owners, 0] + 1)
        offsets = self.offsets[first:stop]
        positions = (columns + offsets[owners, 0]) * img_h + rows + offsets[owners, 1]  # column-major in the image
        # A run that reaches the lower border continues in the next column: COCO knows no columns.
        joined = np.zeros(len(positions), bool)
        touching = (positions[1:-1:2] == positions[2::2]) & (owners[1:-1:2] == owners[2::2])
        joined[1:-1:2] = touching
        joined[2::2] = touching
        positions, owners = positions[~joined], owners[~joined]
        return _compress(positions, owners, stop - first, img_h, img_w)


def _without_collinear(contours: Sequence[np.ndarray], offset: np.ndarray) -> list[np.ndarray]:
    """Return contours of a mask enlarged twice, ``(P, 2)`` each, as float32 rings along the edges of its pixels.

    They have no repeated points and none in the middle of an edge. All are worked on at once: a ragged mask has
    hundreds.
    """
    if not contours:
        return []
    points, counts = (np.concatenate(contours) + 1) // 2, np.array([len(contour) for contour in contours])
    steps, _ = _steps(points, counts)
    kept = steps.any(1)
    points, counts = points[kept], np.add.reduceat(kept, np.cumsum(counts) - counts, dtype=np.int64)
    before, after = _steps(points, counts)
    kept = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    counts = np.add.reduceat(kept, np.cumsum(counts) - counts, dtype=np.int64)
    points, ends = (points[kept] + offset).astype(np.float32), np.cumsum(counts).tolist()
    return [points[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _steps(points: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps to the points ``(P, 2)`` of closed rings, which have ``counts`` points, and those from them."""
    ends = np.cumsum(counts)
    firsts, lasts = ends - counts, ends - 1
    before, after = np.empty_like(points), np.empty_like(points)
    np.subtract(points[1:], points[:-1], out=before[1:])
    before[firsts] = points[firsts] - points[lasts]
    after[:-1] = before[1:]
    after[lasts] = before[firsts]
    return before, after


def _compress(positions: np.ndarray, owners: np.ndarray, count: int, img_h: int, img_w: int) -> list[dict]:
    """Return RLE dicts of ``count`` masks from the sorted positions at which each changes value.

    COCO writes a mask as the lengths of its runs, background first, from the fourth on as difference to the length two
    before, and each number as groups of 5 bits, low ones first, with a bit that says whether another follows.
    """
    # Every mask's list of changes is closed with the image's end, unless its last run ends there.
    closing = np.full(count, img_h * img_w, np.int64)
    full = np.zeros(count, bool)
    full[owners[positions == img_h * img_w]] = True
    ends = np.concatenate([positions, closing[~full]])
    owners = np.concatenate([owners, np.flatnonzero(~full)])
    order = np.argsort(owners, kind='stable')
    ends, owners = ends[order], owners[order]
    totals = np.bincount(owners, minlength=count)
    ranks = np.arange(len(ends)) - (np.cumsum(totals) - totals)[owners]

    lengths = np.diff(ends, prepend=0)
    lengths[ranks == 0] = ends[ranks == 0]
    values = lengths.copy()
    late = np.flatnonzero(ranks > 2)
    values[late] -= lengths[late - 2]

    groups = np.zeros((len(values), 8), np.uint8)
    used = np.zeros((len(values), 8), bool)
    going = np.ones(len(values), bool)
    for digit in range(8):
        low = values & 31
        values = values >> 5
        # The sign is carried by the group's highest bit: done when what remains repeats it.
        more = np.where(low & 16, values != -1, values != 0)
        used[:, digit] = going
        groups[:, digit] = low + np.where(more, 32, 0) + 48
        going = going & more
        if not going.any():
            break
    per_value = used.sum(1)
    text = groups[used].tobytes()
    bounds = np.concatenate([[0], np.cumsum(np.bincount(owners, weights=per_value, minlength=count))]).astype(np.int64)
    return [{'size': [img_h, img_w], 'counts': text[a:b]} for a, b in zip(bounds[:-1], bounds[1:], strict=True)]


def segmentation_to_rle(segmentation: dict | Sequence, bbox: np.ndarray, ori_shape: tuple[int, int]) -> dict:
    """Return the compressed RLE of one ground-truth segmentation.

    Args:
        segmentation: an RLE dict (compressed or with a list of counts), or a list of rings, each flat (x, y, x, y, ...)
            or ``(P, 2)``. With no ring of at least 3 points the object is known by its box alone, which is its mask.
        bbox: ``(4,)`` xyxy.
        ori_shape: (h, w) of the image.
    """
    height, width = ori_shape
    if isinstance(segmentation, dict):
        if isinstance(segmentation['counts'], list):
            return coco_mask.frPyObjects(segmentation, height, width)
        return segmentation
    rings = [np.asarray(ring, np.float64).ravel().tolist() for ring in segmentation]
    rings = [ring for ring in rings if len(ring) >= 6]
    if not rings:
        x0, y0, x1, y1 = (float(value) for value in bbox)
        rings = [[x0, y0, x1, y0, x1, y1, x0, y1]]
    return coco_mask.merge(coco_mask.frPyObjects(rings, height, width))
