"""``reduced``: a result on a smaller copy of its image, for pictures of very large images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from detkit.inference.result import Result
from detkit.structures.masks import InstanceMasks
from detkit.structures.panoptic import PanopticSegments


def reduced(result: Result, img: np.ndarray, longest: int) -> tuple[Result, np.ndarray]:
    """Return a result and its image, scaled so that no side is longer than ``longest``.

    Args:
        result: the result.
        img: its image, ``(H, W, 3)`` uint8 RGB.
        longest: in pixels; what is smaller is returned as it is.
    """
    height, width = img.shape[:2]
    factor = longest / max(height, width)
    if factor >= 1:
        return result, img
    size_wh = max(round(width * factor), 1), max(round(height * factor), 1)
    scale = np.array(size_wh) / (width, height)
    changes: dict[str, Any] = {'img_shape': size_wh[::-1]}
    if result.bboxes is not None:
        changes['bboxes'] = (result.bboxes * np.tile(scale, 2)).astype(np.float32)
    if result.keypoints is not None:
        changes['keypoints'] = (result.keypoints * [*scale, 1]).astype(np.float32)
    if result.rbboxes is not None:
        changes['rbboxes'] = (result.rbboxes * [*scale, factor, factor, 1]).astype(np.float32)
    if result.instance_masks is not None:
        changes['instance_masks'] = _reduced_masks(result.instance_masks, scale, size_wh)
    segments = result._segments
    if segments is not None:
        index_map = cv2.resize(segments.index_map, size_wh, interpolation=cv2.INTER_NEAREST)
        changes['_segments'] = PanopticSegments(index_map, segments.labels, segments.scores)
    return replace(result, **changes), cv2.resize(img, size_wh, interpolation=cv2.INTER_AREA)


def _reduced_masks(masks: InstanceMasks, scale: np.ndarray, size_wh: tuple[int, int]) -> InstanceMasks:
    crops, offsets = [], []
    for crop, offset in zip(masks.crops, masks.offsets, strict=True):
        start = np.round(offset * scale).astype(int)
        end = np.round((offset + crop.shape[::-1]) * scale).astype(int).clip(0, size_wh)
        wh = (end - start).tolist()
        filled = crop.size > 0 and min(wh) > 0
        small = cv2.resize(crop.astype(np.uint8), wh, interpolation=cv2.INTER_NEAREST) if filled else np.zeros((0, 0))
        crops.append(small > 0)
        offsets.append(start if filled else (0, 0))
    return InstanceMasks(crops, np.array(offsets).reshape(-1, 2), size_wh[::-1])
