"""``PanopticSegments``: an image divided into segments, and the colours that COCO's files write segments in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask

from detkit.structures.masks import InstanceMasks


@dataclass
class PanopticSegments:
    """The S segments of one image: each pixel belongs to one of them or to none.

    Attributes:
        index_map: ``(H, W)`` int32, 0 where there is no segment, i + 1 the i-th one.
        labels: ``(S,)`` int64.
        scores: ``(S,)`` float32; 1 of ground truth.
        ignored: ``(S,)`` bool, crowds; never of predictions.

    Raises:
        ValueError: the lengths differ, or the map counts further than S.
    """

    index_map: np.ndarray
    labels: np.ndarray
    scores: np.ndarray | None = None
    ignored: np.ndarray | None = None

    def __post_init__(self) -> None:
        count = len(self.labels)
        self.labels = np.asarray(self.labels, np.int64)
        self.scores = np.asarray(np.ones(count) if self.scores is None else self.scores, np.float32)
        self.ignored = np.asarray(np.zeros(count) if self.ignored is None else self.ignored, bool)
        if not len(self.scores) == len(self.ignored) == count:
            raise ValueError(f'{count} labels, but {len(self.scores)} scores and {len(self.ignored)} flags')
        if self.index_map.ndim != 2 or self.index_map.min(initial=0) < 0 or self.index_map.max(initial=0) > count:
            raise ValueError(f'a map of {count} segments must be (H, W) with values 0 ... {count}')

    @classmethod
    def from_rles(
        cls, rles: Sequence[dict], labels: np.ndarray, shape: tuple[int, int], ignored: np.ndarray | None = None
    ) -> PanopticSegments:
        """Build from one compressed COCO RLE a segment of an image of (h, w); later ones cover earlier ones."""
        index_map = np.zeros(shape, np.int32)
        for number, rle in enumerate(rles, 1):
            index_map[coco_mask.decode(rle) > 0] = number
        return cls(index_map, labels, ignored=ignored)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def areas(self) -> np.ndarray:
        """``(S,)`` int64, in pixels."""
        return np.bincount(self.index_map.ravel(), minlength=len(self) + 1)[1:]

    @property
    def masks(self) -> InstanceMasks:
        """One mask a segment."""
        return InstanceMasks.from_bool(self.index_map == np.arange(1, len(self) + 1)[:, None, None])

    def to_instances(self) -> InstanceData:
        """Return ``bboxes (S, 4)``, ``labels``, ``scores`` and ``masks``, as of objects, each box around its mask."""
        masks = self.masks
        sizes = np.array([crop.shape[::-1] for crop in masks.crops], np.int64).reshape(-1, 2)  # (w, h)
        bboxes = np.concatenate([masks.offsets, masks.offsets + sizes], 1).astype(np.float32)
        return InstanceData(
            bboxes=torch.from_numpy(bboxes),
            labels=torch.from_numpy(self.labels),
            scores=torch.from_numpy(self.scores),
            masks=masks,
        )


def rgb_to_ids(rgb: np.ndarray) -> np.ndarray:
    """Convert ``(H, W, 3)`` uint8 to ``(H, W)`` int32, R + 256 G + 256² B: a segment's id in COCO's panoptic PNGs."""
    red, green, blue = np.moveaxis(rgb.astype(np.int32), -1, 0)
    return red + (green << 8) + (blue << 16)


def ids_to_rgb(ids: np.ndarray) -> np.ndarray:
    """Convert ids below 2²⁴ to colours, the reverse of ``rgb_to_ids``."""
    return np.stack([ids & 255, (ids >> 8) & 255, (ids >> 16) & 255], -1).astype(np.uint8)
