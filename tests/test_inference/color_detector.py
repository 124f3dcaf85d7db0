"""A detector that finds objects painted in known colours exactly, in place of a network."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from mmengine.structures import InstanceData

from detkit.structures import DetDataSample, InstanceMasks
from detkit.structures.rotated_bboxes import corners_to_rbboxes

Color = tuple[int, int, int]


class ColorDetector:
    """Finds the pixels of each colour in a view; the counterpart of a pipeline and a network.

    Args:
        colors: of the objects; the label of an object is its red value modulo 2.
        fields: what to predict beside boxes: 'masks', 'keypoints' (top left and top right corner) and 'rbboxes'.
        least: objects of fewer pixels on a side are not found.
    """

    def __init__(self, colors: Sequence[Color], fields: Sequence[str] = (), least: int = 3) -> None:
        self.colors, self.fields, self.least = colors, fields, least
        self.shapes: list[tuple[int, int]] = []
        self.batches: list[int] = []

    def pack(self, pixels: np.ndarray, scale: float) -> dict:
        self.shapes.append(pixels.shape[:2])
        return {'inputs': torch.from_numpy(pixels.copy())}

    def run(self, batch: list[dict]) -> list[DetDataSample]:
        self.batches.append(len(batch))
        return [self._find(item['inputs'].numpy()) for item in batch]

    def _find(self, pixels: np.ndarray) -> DetDataSample:
        found = [(color, np.all(pixels == color, -1)) for color in self.colors]
        boxes = [(color, mask, _box(mask)) for color, mask in found if mask.any()]
        boxes = [entry for entry in boxes if min(entry[2][2:] - entry[2][:2]) >= self.least]
        bboxes = np.array([box for _, _, box in boxes], np.float32).reshape(-1, 4)
        # A larger part of an object is found with more confidence.
        scores = [0.5 + 0.4 * mask.sum() / mask.size for _, mask, _ in boxes]
        order = np.argsort(-np.array(scores), kind='stable')
        boxes = [boxes[i] for i in order]
        sample = DetDataSample(metainfo=dict(img_path='', ori_shape=pixels.shape[:2]))
        sample.pred_instances = pred = InstanceData(
            bboxes=torch.from_numpy(bboxes[order]),
            scores=torch.tensor(scores, dtype=torch.float32)[order],
            labels=torch.tensor([color[0] % 2 for color, _, _ in boxes], dtype=torch.int64),
        )
        if 'masks' in self.fields:
            masks = np.array([mask for _, mask, _ in boxes], bool).reshape(-1, *pixels.shape[:2])
            pred.masks = InstanceMasks.from_bool(masks)
        if 'keypoints' in self.fields:
            pred.keypoints = pred.bboxes[:, [0, 1, 2, 1]].view(-1, 2, 2)
            # The end of an object that the view cuts is not seen.
            inside = (pred.keypoints[..., 0] > 0) & (pred.keypoints[..., 0] < pixels.shape[1])
            pred.keypoint_scores = torch.where(inside, 0.9, 0.1)
        if 'rbboxes' in self.fields:
            corners = [cv2.boxPoints(cv2.minAreaRect(_points(mask))) for _, mask, _ in boxes]
            pred.rbboxes = torch.from_numpy(corners_to_rbboxes(np.array(corners).reshape(-1, 4, 2)))
        return sample


def _box(mask: np.ndarray) -> np.ndarray:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


def _points(mask: np.ndarray) -> np.ndarray:
    """Return the corners of the pixels of a mask."""
    y, x = np.nonzero(mask)
    return np.concatenate([np.stack([x + dx, y + dy], 1) for dx in (0, 1) for dy in (0, 1)]).astype(np.float32)


def paint(shape: tuple[int, int], bboxes: Sequence[Sequence[int]]) -> tuple[np.ndarray, list[Color]]:
    """Return a black picture with a rectangle of an own colour for each box, and the colours."""
    img = np.zeros((*shape, 3), np.uint8)
    colors = [(100 + i, 200 - i, 50 + i) for i in range(len(bboxes))]
    for color, (x0, y0, x1, y1) in zip(colors, bboxes, strict=True):
        img[y0:y1, x0:x1] = color
    return img, colors
