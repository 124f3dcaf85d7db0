"""``FCOSAssigner``: points near the middle of a box, of the level that fits its size, learn it."""

from __future__ import annotations

import torch
from torch import Tensor

from detkit.protocols import LevelPointAssigner
from detkit.registry import ASSIGNERS
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import Candidates

from ..priors import PointPriors


@ASSIGNERS.register_module()
class FCOSAssigner(LevelPointAssigner):
    """Assigner of the points inside a box, near its centre, whose largest distance to a side fits their level.

    Of several boxes that claim a point the smallest one gets it (FCOS, arXiv:1904.01355, sections 3.1 and 3.2; near
    the centre: its section 'center sampling').

    Args:
        radius: largest distance from the centre along each axis, in strides.
        min_range, max_range: a level has the boxes whose largest distance to a side is between these, in strides. The
            finest level has no lower limit, the coarsest one no upper limit.
    """

    def __init__(self, radius: float = 1.5, min_range: float = 4.0, max_range: float = 8.0) -> None:
        if radius <= 0 or not 0 <= min_range < max_range:
            raise ValueError(
                'FCOSAssigner: radius must be above 0, and 0 <= min_range < max_range must hold, found '
                f'{radius}, {min_range} and {max_range}'
            )
        self.radius = radius
        self.min_range = min_range
        self.max_range = max_range

    @torch.no_grad()
    def __call__(self, preds: Candidates, priors: PointPriors, gt: GtBatch) -> Tensor:
        """Return the object of each point, see ``LevelPointAssigner``."""
        points, strides = priors.points.unsqueeze(1), priors.strides.unsqueeze(1)  # (P, 1, 2), (P, 1)
        if not gt.max_instances:
            return torch.full((gt.batch_size, len(points)), -1, dtype=torch.int64, device=points.device)
        lowest = torch.where(strides == strides[0], 0, strides * self.min_range)
        highest = torch.where(strides == strides[-1], torch.inf, strides * self.max_range)
        results = []
        for bboxes, valid in zip(gt.bboxes.to(points.dtype), gt.valid, strict=True):  # (M, 4), (M,)
            distances = torch.cat([points - bboxes[:, :2], bboxes[:, 2:] - points], -1)  # (P, M, 4)
            centres = (bboxes[:, :2] + bboxes[:, 2:]) / 2
            near = (points - centres).abs().amax(-1) < self.radius * strides  # (P, M)
            largest = distances.amax(-1)
            fits = near & (distances.amin(-1) > 0) & (largest > lowest) & (largest < highest) & valid
            areas = (bboxes[:, 2:] - bboxes[:, :2]).prod(-1).expand_as(fits).masked_fill(~fits, torch.inf)
            smallest, gt_idx = areas.min(1)
            results.append(torch.where(smallest.isinf(), -1, gt_idx))
        return torch.stack(results)
