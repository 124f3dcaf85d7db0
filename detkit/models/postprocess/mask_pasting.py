"""Masks in the original image from probabilities inside boxes."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from detkit.structures.masks import InstanceMasks


def paste_masks(probs: Tensor, bboxes: Tensor, img_shape: tuple[int, int]) -> InstanceMasks:
    """Return the masks that probabilities inside boxes mean: the pixels above one half.

    A mask is resized to the whole pixels that its box covers, enlarged by one cell on each side, as in torchvision.

    Args:
        probs: ``(N, s, s)``.
        bboxes: ``(N, 4)`` xyxy in pixels of the image.
        img_shape: (h, w) of the image.
    """
    height, width = img_shape
    side = probs.shape[-1]
    probs = F.pad(probs, (1, 1, 1, 1))
    centres, halves = (bboxes[:, :2] + bboxes[:, 2:]) / 2, (bboxes[:, 2:] - bboxes[:, :2]) / 2 * ((side + 2) / side)
    edges = torch.cat([centres - halves, centres + halves], 1).long()
    crops, offsets = [], []
    for own, (x0, y0, x1, y1) in zip(probs, edges.tolist(), strict=True):
        size = max(y1 - y0 + 1, 1), max(x1 - x0 + 1, 1)
        mask = F.interpolate(own[None, None], size=size, mode='bilinear', align_corners=False)[0, 0] > 0.5
        left, top = min(max(x0, 0), width), min(max(y0, 0), height)
        right, bottom = max(min(x1 + 1, width), left), max(min(y1 + 1, height), top)
        crops.append(mask[top - y0 : bottom - y0, left - x0 : right - x0].cpu().numpy())
        offsets.append((left, top))
    return InstanceMasks(crops, np.array(offsets, np.int64).reshape(-1, 2), img_shape)
