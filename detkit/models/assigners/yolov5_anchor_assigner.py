"""``YOLOv5AnchorAssigner``: the anchors of a similar shape in a box's cell and the nearest cells learn it."""

from __future__ import annotations

import torch
from torch import Tensor

from detkit.protocols import AnchorAssigner
from detkit.registry import ASSIGNERS
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import AssignResult, Candidates

from ..priors import AnchorPriors
from .yolov3_anchor_assigner import cell_index, slots_of


@ASSIGNERS.register_module()
class YOLOv5AnchorAssigner(AnchorAssigner):
    """Assigner of the anchors of which no side is ``max_ratio`` times shorter or longer than the box's.

    They learn the box in the cell of its centre and in the neighbouring cells across the borders that are near the
    centre, at most one beside and one above or below (YOLOv5, https://doi.org/10.5281/zenodo.3908559).

    Args:
        max_ratio: upper limit of the ratio of the longer to the shorter of two sides.
        reach: distance in cells below which a border is near, if there is a cell beyond it; 0 leaves neighbours out,
            .5 takes the two nearest.
    """

    def __init__(self, max_ratio: float = 4.0, reach: float = 0.5) -> None:
        if max_ratio <= 1:
            raise ValueError(f'YOLOv5AnchorAssigner: max_ratio must be more than 1, found {max_ratio}')
        if not 0 <= reach < 1:
            raise ValueError(f'YOLOv5AnchorAssigner: reach must be in [0, 1), found {reach}')
        self.max_ratio = max_ratio
        self.reach = reach

    @property
    def min_quality(self) -> float:
        """The ``shape_quality`` that an anchor must exceed to fit a box."""
        return 1 / self.max_ratio

    def shape_quality(self, sizes_wh: Tensor, shapes_wh: Tensor) -> Tensor:
        """Return the ratio ``(…, A)``, in [0, 1], of shorter to longer for the side that differs most.

        Boxes are ``(…, 1, 2)``, anchors ``(A, 2)``.
        """
        ratios = sizes_wh / shapes_wh  # (…, A, 2)
        return torch.minimum(ratios, ratios.reciprocal()).amin(-1)

    @torch.no_grad()
    def __call__(self, preds: Candidates, priors: AnchorPriors, gt: GtBatch) -> AssignResult:
        """Assign the A anchors of one level; K is 5 * A: the centre's cell, then left, above, right and below.

        A prior recurs where a centre lies exactly on a border, as one of the two near neighbours is then its own cell.

        Args:
            preds: unused, but part of every assigner's signature.
            priors: the anchors of the level.
            gt: ground truth of M boxes for each image; M may be 0.
        """
        bboxes = gt.bboxes.to(priors.shapes_wh.dtype)
        sizes_wh = (bboxes[..., 2:] - bboxes[..., :2]).unsqueeze(2)  # (B, M, 1, 2)
        fits = self.shape_quality(sizes_wh, priors.shapes_wh) > self.min_quality
        fits = fits & gt.valid.unsqueeze(-1)  # (B, M, A)

        height, width = priors.map_size
        x, y = ((bboxes[..., :2] + bboxes[..., 2:]) / (2 * priors.stride)).unbind(-1)  # (B, M) each
        near = [
            torch.ones_like(gt.valid),
            self._is_near(x),
            self._is_near(y),
            self._is_near(width - x),
            self._is_near(height - y),
        ]
        reach = self.reach
        cells = [(x, y), (x - reach, y), (x, y - reach), (x + reach, y), (x, y + reach)]
        cell_idx = torch.stack([cell_index(*cell, priors.map_size) for cell in cells], -1)  # (B, M, 5)
        valid = torch.stack(near, -1).unsqueeze(-1) & fits.unsqueeze(2)  # (B, M, 5, A)
        return slots_of(cell_idx, valid.flatten(2))

    def _is_near(self, distance: Tensor) -> Tensor:
        """Return whether the border towards an edge of the map is near, given the distance to that edge in cells."""
        return (distance % 1 < self.reach) & (distance > 1)
