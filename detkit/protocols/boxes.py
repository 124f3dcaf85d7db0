"""The contracts of what makes, cuts out and follows boxes: priors, coders, regions and trackers.

B images, R regions, N boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np

# ---- Priors


class PriorGenerator(Protocol):
    """Makes the priors of feature maps.

    Attributes:
        strides: pixels per cell of each map, fine to coarse.
    """

    strides: tuple[int, ...]

    def __call__(
        self, sizes: Sequence[tuple[int, int]], device: torch.device | str = 'cpu', dtype: torch.dtype = torch.float32
    ) -> Any:
        """Return the priors of maps of the given (h, w), in the form that the head and its assigner agree on."""
        ...


# ---- Coders


class DistanceCoder(Protocol):
    """Boxes xyxy as the distances from a point to the four sides, each a distribution over bins.

    Attributes:
        reg_max: number of bins of a distribution; with 1 the network predicts the distance itself.
    """

    reg_max: int

    def encode(self, points: Tensor, bboxes: Tensor, strides: Tensor | float = 1.0) -> Tensor: ...
    def decode(self, points: Tensor, distances: Tensor, strides: Tensor | float = 1.0) -> Tensor: ...
    def mean_distances(self, bbox_preds: Tensor) -> Tensor: ...


class RotatedCoder(Protocol):
    """Rotated boxes as the distances of ``DistanceCoder`` along the sides of the box, and its angle.

    Attributes:
        reg_max: see ``DistanceCoder``.
    """

    reg_max: int

    def encode(self, points: Tensor, bboxes: Tensor, strides: Tensor | float = 1.0) -> Tensor: ...
    def decode(
        self, points: Tensor, distances: Tensor, strides: Tensor | float = 1.0, angles: Tensor | None = None
    ) -> Tensor: ...
    def mean_distances(self, bbox_preds: Tensor) -> Tensor: ...
    def angles(self, angle_logits: Tensor) -> Tensor: ...


class AnchorCoder(Protocol):
    """Boxes xyxy as shift and ratio of an anchor."""

    def encode(self, points: Tensor, sizes_wh: Tensor, bboxes: Tensor, strides: Tensor | float = 1.0) -> Tensor: ...
    def decode(self, points: Tensor, sizes_wh: Tensor, bbox_preds: Tensor, strides: Tensor | float = 1.0) -> Tensor: ...


class DeltaCoder(Protocol):
    """Boxes xyxy as shift and ratio of a prior, which is a box: ``(..., 4)`` each."""

    def encode(self, priors: Tensor, bboxes: Tensor) -> Tensor: ...
    def decode(self, priors: Tensor, bbox_preds: Tensor) -> Tensor: ...


class ImageCoder(Protocol):
    """Boxes xyxy in pixels as cxcywh relative to the image."""

    def encode(self, bboxes: Tensor, img_shapes: Tensor) -> Tensor: ...
    def decode(self, bboxes_cxcywh: Tensor, img_shapes: Tensor) -> Tensor: ...


class RotatedImageCoder(Protocol):
    """Rotated boxes in pixels as rotated boxes with centre and sides relative to the image."""

    def encode(self, rbboxes: Tensor, img_shapes: Tensor) -> Tensor: ...
    def decode(self, rbboxes: Tensor, img_shapes: Tensor) -> Tensor: ...


# ---- Regions


class RoIExtractor(Protocol):
    """Cuts regions out of feature maps; it is constructed with ``strides``, those of all maps.

    Attributes:
        out_size: sides s of the result, in cells.
    """

    out_size: int

    def __call__(self, feats: Sequence[Tensor], bboxes: Sequence[Tensor]) -> Tensor:
        """Return ``(R, C, s, s)`` of maps ``(B, C, h_i, w_i)`` for the regions ``(R_b, 4)`` xyxy of each image."""
        ...


# ---- Tracking


class Tracker(Protocol):
    """The boxes of frame after frame to tracks. One is made for each video, and for each class that is kept apart.

    It is constructed with ``frame_rate``, the frames a second, and its own arguments.
    """

    def update(self, bboxes: np.ndarray, scores: np.ndarray, img: np.ndarray, seconds: float) -> np.ndarray:
        """Return the track that each box of the next frame belongs to.

        Args:
            bboxes: ``(N, 4)`` float32 xyxy.
            scores: ``(N,)`` float32.
            img: the frame, ``(H, W, 3)`` uint8 RGB.
            seconds: its time, later than that of the frame before.

        Returns:
            ``(N,)`` int64, numbers of tracks, which are this tracker's own; -1 for a box of none.
        """
        ...
