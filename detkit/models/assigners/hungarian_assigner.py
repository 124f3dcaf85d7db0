"""``HungarianAssigner``: one query for each object, with the least total cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from detkit.protocols import QueryAssigner
from detkit.registry import ASSIGNERS, MATCH_COSTS
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import AssignResult, Candidates
from detkit.utils.errors import ConfigError

from ..coders.relative_bbox_coder import xyxy_to_relative

# Replaces a cost that is not finite: the pair is chosen only where there is no other.
_LARGE = 1e15


@ASSIGNERS.register_module()
class HungarianAssigner(QueryAssigner):
    """One-to-one matching of the objects and queries of each image with the least sum of costs (arXiv:2005.12872).

    scipy solves the problem on the CPU; this is the only step of training that a GPU waits for.

    Args:
        match_costs: configs of the costs that are added up; by default DETR's: 1 * class, 5 * L1, 2 * GIoU.
    """

    default_costs: Sequence[dict] = (
        dict(type='ClassCost', weight=1.0),
        dict(type='BBoxL1Cost', weight=5.0),
        dict(type='GIoUCost', weight=2.0),
    )
    box_dims = 4

    def __init__(self, match_costs: Sequence[dict] | None = None) -> None:
        match_costs = self.default_costs if match_costs is None else match_costs
        self.match_costs = [MATCH_COSTS.build(cfg) for cfg in match_costs]
        if not any(cost.weight for cost in self.match_costs):
            raise ConfigError(f'{type(self).__name__}: match_costs needs at least one cost whose weight is not 0')
        for cost in self.match_costs:
            if self.box_dims not in cost.box_dims:
                kinds = {4: 'upright', 5: 'rotated'}
                raise ConfigError(
                    f'{type(self).__name__}: match_costs has {type(cost).__name__}, which does not take '
                    f'{kinds[self.box_dims]} boxes; leave match_costs out, or give costs of these'
                )

    def _boxes(self, bboxes: Tensor, gt: GtBatch) -> tuple[Tensor, Tensor]:
        """Return the boxes that costs compare, candidates' ``(..., B, Q, 4)`` and objects' ``(B, M, 4)``."""
        return bboxes, xyxy_to_relative(gt.bboxes.to(bboxes.dtype), gt.img_shapes)

    @torch.no_grad()
    def __call__(self, preds: Candidates, priors: None, gt: GtBatch) -> AssignResult:
        """Match the Q queries of each of B images to its objects, separately for each leading axis (decoder layer).

        Args:
            preds: logits ``(..., B, Q, C + 1)`` and boxes ``(..., B, Q, 4)``, cxcywh relative to the image; perhaps
                costs to add.
            priors: None; queries have none.
            gt: M boxes an image; M may be 0.

        Returns:
            ``AssignResult`` with K = 1 slot for each object, ``(..., B, M, 1)``. Where an image has more objects than
            queries, the slots of the objects that cost most are empty.
        """
        from scipy.optimize import linear_sum_assignment  # only now: it takes half a second, and prediction needs none

        cls_logits, added = preds.cls_logits, preds.costs
        labels, valid = gt.labels, gt.valid
        bboxes, gt_bboxes = self._boxes(preds.bboxes, gt)
        prior_idx = np.zeros((*bboxes.shape[:-2], labels.shape[1]), np.int64)  # (..., B, M)
        matched = np.zeros(prior_idx.shape, bool)
        if labels.shape[1]:
            costs = sum(cost(cls_logits, bboxes, labels.clamp(min=0), gt_bboxes) for cost in self.match_costs)
            if added is not None:
                costs = costs + added
            # All layers at once, so that a GPU waits once.
            costs = costs.nan_to_num(nan=_LARGE, posinf=_LARGE, neginf=_LARGE).cpu().numpy()
            objects = [np.flatnonzero(image_valid) for image_valid in valid.cpu().numpy()]
            for index in np.ndindex(*prior_idx.shape[:-1]):  # (layer, image)
                image_objects = objects[index[-1]]
                queries, columns = linear_sum_assignment(costs[index][:, image_objects])
                prior_idx[index][image_objects[columns]] = queries
                matched[index][image_objects[columns]] = True
        device = bboxes.device
        gt_idx = torch.arange(labels.shape[1], device=device).expand(prior_idx.shape).unsqueeze(-1)
        return AssignResult(
            torch.from_numpy(prior_idx).to(device).unsqueeze(-1),
            torch.from_numpy(matched).to(device).unsqueeze(-1),
            gt_idx,
        )
