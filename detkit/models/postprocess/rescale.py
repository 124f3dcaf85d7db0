"""Conversion of boxes and points from the network's input to the original image."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from detkit.structures.rotated_tensors import map_rbboxes, normalize_rbboxes, rbbox_hulls


def to_original(bboxes: Tensor, matrix: np.ndarray, ori_shape: tuple[int, int] | None) -> Tensor:
    """Transform boxes by the inverse of ``matrix`` and clip them to the image.

    Args:
        bboxes: ``(N, 4)`` xyxy in input pixels.
        matrix: ``(3, 3)`` original pixels -> input pixels.
        ori_shape: (h, w) of the original image; None leaves what lies outside of it, in the input's padding.

    Returns:
        ``(N, 4)`` xyxy, the upright boxes around the transformed ones.
    """
    corners = points_to_original(bboxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].view(-1, 4, 2), matrix, ori_shape)
    return torch.cat([corners.amin(1), corners.amax(1)], 1)


def rbboxes_to_original(rbboxes: Tensor, matrix: np.ndarray, ori_shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Transform rotated boxes by the inverse of ``matrix``.

    Args:
        rbboxes: ``(N, 5)`` in input pixels; neither side need be the longer one.
        matrix, ori_shape: see ``to_original``.

    Returns:
        rotated boxes ``(N, 5)``, which may exceed the image, and their upright hulls ``(N, 4)`` xyxy, clipped to it.
    """
    inverse = torch.as_tensor(matrix, device=rbboxes.device, dtype=torch.float64).inverse()
    rbboxes = map_rbboxes(normalize_rbboxes(rbboxes), inverse.to(rbboxes.dtype))
    height, width = ori_shape
    return rbboxes, rbbox_hulls(rbboxes).clamp(min=0).minimum(rbboxes.new_tensor([width, height] * 2))


def points_to_original(points: Tensor, matrix: np.ndarray, ori_shape: tuple[int, int] | None) -> Tensor:
    """Transform points ``(..., 2)`` xy to original pixels and clamp them to the image; see ``to_original``."""
    inverse = torch.as_tensor(np.linalg.inv(matrix), device=points.device, dtype=points.dtype)
    # Sums rather than a matrix product, which would wake threads for it.
    points = (points.unsqueeze(-2) * inverse[:2, :2]).sum(-1) + inverse[:2, 2]
    if ori_shape is None:
        return points
    height, width = ori_shape
    return points.clamp(min=0).minimum(points.new_tensor([width, height]))
