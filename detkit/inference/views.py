"""Views: the parts and the augmented copies of an image that a detector predicts on, and the way back to the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from mmengine.structures import InstanceData

from detkit.inference.view_options import PLAIN, Augmentation
from detkit.structures.keypoints import flip_indices
from detkit.structures.masks import InstanceMasks

Rect = tuple[int, int, int, int]


@dataclass(frozen=True)
class View:
    """A part of an image in one augmentation.

    Attributes:
        rect: (x0, y0, x1, y1) in pixels of the image.
        augmentation: the change of the part.
    """

    rect: Rect
    augmentation: Augmentation = PLAIN

    def of(self, img: np.ndarray) -> np.ndarray:
        """Return the view of an image ``(H, W, 3)``, which shares its memory where the view is all of it."""
        x0, y0, x1, y1 = self.rect
        part = img[y0:y1, x0:x1]
        if self.augmentation.flip:
            part = np.flip(part, 1 if self.augmentation.flip == 'hflip' else 0)
        return np.ascontiguousarray(part)


def unflipped(
    found: InstanceData, shape: tuple[int, int], flip: str, flip_pairs: Sequence[Sequence[int]]
) -> InstanceData:
    """Return predictions on a mirrored part as predictions on the part itself.

    Args:
        found: as ``DetDataSample.pred_instances``.
        shape: (h, w) of the part.
        flip: see ``Augmentation``.
        flip_pairs: left and right keypoints; they are exchanged, as a mirrored left hand looks like a right one.
    """
    if not flip:
        return found
    axis = 0 if flip == 'hflip' else 1
    length = shape[1 - axis]
    found = found[torch.arange(len(found.bboxes))]  # a copy
    bboxes = found.bboxes.clone()
    bboxes[:, [axis, axis + 2]] = length - bboxes[:, [axis + 2, axis]]
    found.bboxes = bboxes
    if 'rbboxes' in found:
        rbboxes = found.rbboxes.clone()
        rbboxes[:, axis] = length - rbboxes[:, axis]
        # A mirrored angle is the negative one; it stays in [-pi/4, 3pi/4).
        rbboxes[:, 4] = (np.pi / 4 - rbboxes[:, 4]).remainder(np.pi) - np.pi / 4
        found.rbboxes = rbboxes
    if 'keypoints' in found:
        keypoints = found.keypoints.clone()
        keypoints[..., axis] = length - keypoints[..., axis]
        order = flip_indices(flip_pairs, keypoints.shape[1])
        found.keypoints, found.keypoint_scores = keypoints[:, order], found.keypoint_scores[:, order]
    if 'masks' in found:
        masks = found.masks
        offsets = masks.offsets.copy()
        offsets[:, axis] = [
            length - offset - crop.shape[1 - axis]
            for offset, crop in zip(offsets[:, axis].tolist(), masks.crops, strict=True)
        ]
        found.masks = InstanceMasks([np.flip(crop, 1 - axis).copy() for crop in masks.crops], offsets, masks.img_shape)
    return found


def shifted(found: InstanceData, origin: tuple[int, int], img_shape: tuple[int, int]) -> InstanceData:
    """Return predictions on a part of an image in pixels of the image.

    Args:
        found: as ``DetDataSample.pred_instances``.
        origin: x and y of the part's top left corner.
        img_shape: (h, w) of the image.
    """
    found = found[torch.arange(len(found.bboxes))]  # a copy
    shift = found.bboxes.new_tensor(origin)
    found.bboxes = found.bboxes + shift.repeat(2)
    if 'rbboxes' in found:
        found.rbboxes = torch.cat([found.rbboxes[:, :2] + shift, found.rbboxes[:, 2:]], 1)
    if 'keypoints' in found:
        found.keypoints = found.keypoints + shift
    if 'masks' in found:
        found.masks = InstanceMasks(found.masks.crops, found.masks.offsets + np.array(origin), img_shape)
    return found
