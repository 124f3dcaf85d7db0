"""``DeltaBBoxCoder``: boxes as shift and ratio of a prior, which is a box."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import torch
from torch import Tensor

from detkit.protocols import DeltaCoder
from detkit.registry import CODERS


@CODERS.register_module()
class DeltaBBoxCoder(DeltaCoder):
    """Coder of the centre's shift in sizes of the prior, and the logarithm of the ratio of sizes (arXiv:1311.2524).

    Args:
        stds: the four numbers, x, y, width and height, are divided by these.
        max_ratio: upper limit of the ratio that a prediction means, which could otherwise overflow.
    """

    def __init__(self, stds: Sequence[float] = (1.0, 1.0, 1.0, 1.0), max_ratio: float = 1000 / 16) -> None:
        if len(stds) != 4 or min(stds) <= 0:
            raise ValueError(f'DeltaBBoxCoder: stds must be four numbers above 0, found {tuple(stds)}')
        if max_ratio <= 1:
            raise ValueError(f'DeltaBBoxCoder: max_ratio must be above 1, found {max_ratio}')
        self.stds = tuple(stds)
        self.max_ratio = max_ratio

    def encode(self, priors: Tensor, bboxes: Tensor) -> Tensor:
        """Return ``(..., 4)`` for boxes ``(..., 4)`` xyxy and their priors, likewise; both have positive sides."""
        (points, sizes_wh), (centres, bbox_sizes_wh) = _centre_size(priors), _centre_size(bboxes)
        deltas = torch.cat([(centres - points) / sizes_wh, (bbox_sizes_wh / sizes_wh).log()], -1)
        return torch.stack([delta / std for delta, std in zip(deltas.unbind(-1), self.stds, strict=True)], -1)

    def decode(self, priors: Tensor, bbox_preds: Tensor) -> Tensor:
        """Return boxes ``(..., 4)`` xyxy: the inverse of ``encode``."""
        points, sizes_wh = _centre_size(priors)
        x, y, w, h = (pred * std for pred, std in zip(bbox_preds.unbind(-1), self.stds, strict=True))
        centres = torch.stack([x, y], -1) * sizes_wh + points
        # Limited before the exponential: the gradient of an infinity clamped away would be NaN.
        halves = torch.stack([w, h], -1).clamp(max=log(self.max_ratio)).exp() * sizes_wh / 2
        return torch.cat([centres - halves, centres + halves], -1)


def _centre_size(bboxes: Tensor) -> tuple[Tensor, Tensor]:
    sizes_wh = bboxes[..., 2:] - bboxes[..., :2]
    return bboxes[..., :2] + sizes_wh / 2, sizes_wh
