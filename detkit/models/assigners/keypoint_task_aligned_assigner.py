"""``KeypointTaskAlignedAssigner``: task-aligned assignment by the similarity of keypoints."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from detkit.protocols import KeypointPointAssigner
from detkit.registry import ASSIGNERS
from detkit.structures.gt_batch import GtBatch
from detkit.structures.keypoints import default_sigmas
from detkit.structures.targets import Candidates

from ..priors import PointPriors
from .task_aligned_assigner import DENSE_PAIRS, EPS, TaskAlignedAssigner

# Area of an object over that of its box, as COCO's tools take it for objects without a mask.
_AREA = 0.53
# Cells that a box must span, the root of its area, to have candidates on a level: at least, save on the finest one, and
# at most, save on the coarsest one.
_LEAST_CELLS, _MOST_CELLS = 2, 12


@ASSIGNERS.register_module()
class KeypointTaskAlignedAssigner(TaskAlignedAssigner, KeypointPointAssigner):
    """``TaskAlignedAssigner`` whose overlap is the object keypoint similarity (OKS), as in YOLO26.

    It is the mean of exp(-d² / (2 area (2 sigma)²)) over labelled keypoints (https://cocodataset.org/#keypoints-eval),
    with 0.53 of the box's area. An object without labelled keypoints keeps the overlap of boxes. A box has candidates
    on the levels where its area is that of 2 x 2 to 12 x 12 cells, smaller ones on the finest level and larger ones on
    the coarsest; a box that contains no point of these, as a thin one, has those of all levels.

    Args:
        topk, alpha, beta, min_side, keep: see ``TaskAlignedAssigner``.
        sigmas: see ``KeypointLoss``.
    """

    def __init__(
        self,
        topk: int = 10,
        alpha: float = 0.5,
        beta: float = 6.0,
        min_side: float = 16.0,
        keep: int | None = None,
        sigmas: Sequence[float] | None = None,
    ) -> None:
        super().__init__(topk, alpha, beta, min_side, keep)
        self.sigmas = sigmas
        self._variances: dict[tuple, Tensor] = {}  # by number, device and type, made once

    def _eligible(self, priors: PointPriors, gt_bboxes: Tensor, valid: Tensor) -> Tensor:
        inside = super()._eligible(priors, gt_bboxes, valid)
        areas = (gt_bboxes[..., 2:] - gt_bboxes[..., :2]).prod(-1, keepdim=True)
        sides, strides = areas.clamp(min=0).sqrt(), priors.strides  # (B, M, 1), (P,)
        is_large = (sides >= _LEAST_CELLS * strides) | (strides == strides.amin())
        is_small = (sides <= _MOST_CELLS * strides) | (strides == strides.amax())
        fitting = inside & is_large & is_small
        return torch.where(fitting.any(-1, keepdim=True), fitting, inside)

    def _measure(
        self, inside: Tensor, preds: Candidates, gt_bboxes: Tensor, priors: PointPriors, gt: GtBatch
    ) -> tuple[Tensor, Tensor]:
        overlaps, _ = super()._measure(inside, preds, gt_bboxes, priors, gt)
        keypoints, labelled = gt.keypoints[..., :2].to(overlaps.dtype), gt.keypoints[..., 2] > 0
        areas = (gt_bboxes[..., 2:] - gt_bboxes[..., :2]).prod(-1, keepdim=True) * _AREA
        scales = 2 * (areas + EPS) * self._variances_like(overlaps, keypoints.shape[2])  # (B, M, K)
        if inside.device.type == 'cpu':
            image, box, point = inside.nonzero(as_tuple=True)
            similarities = torch.zeros_like(overlaps)
            similarities[image, box, point] = _similarities(
                preds.keypoints[image, point], keypoints[image, box], scales[image, box], labelled[image, box]
            )
        else:
            similarities = self._similarities_of_all(preds.keypoints, keypoints, scales, labelled) * inside
        overlaps = torch.where(labelled.any(-1, keepdim=True), similarities, overlaps)
        return overlaps, self._metrics(preds.cls_logits, gt.labels, overlaps)

    def _variances_like(self, tensor: Tensor, num_keypoints: int) -> Tensor:
        """Return (2 sigma)², ``(K,)``, with the type of ``tensor`` and on its device."""
        key = num_keypoints, tensor.device, tensor.dtype
        if key not in self._variances:
            sigmas = default_sigmas(num_keypoints) if self.sigmas is None else self.sigmas
            self._variances[key] = ((2 * torch.tensor(sigmas)) ** 2).to(tensor, non_blocking=True)
        return self._variances[key]

    @staticmethod
    def _similarities_of_all(pred: Tensor, keypoints: Tensor, scales: Tensor, labelled: Tensor) -> Tensor:
        """Return the similarities ``(B, M, P)`` of all pairs, a few images at a time to bound the memory."""
        batch, max_instances, num_keypoints = labelled.shape
        step = max(1, DENSE_PAIRS // max(1, max_instances * num_keypoints * pred.shape[1]))
        parts = [slice(start, start + step) for start in range(0, batch, step)]
        return torch.cat(
            [
                _similarities(
                    pred[part].unsqueeze(1),  # (b, 1, P, K, 2)
                    keypoints[part].unsqueeze(2),  # (b, M, 1, K, 2)
                    scales[part].unsqueeze(2),
                    labelled[part].unsqueeze(2),
                )
                for part in parts
            ]
        )


def _similarities(pred: Tensor, keypoints: Tensor, scales: Tensor, labelled: Tensor) -> Tensor:
    """Return the similarities ``(...)`` of keypoints ``(..., K, 2)`` with others, 0 where none is labelled.

    Args:
        scales: ``(..., K)``, the divisors of squared distances.
        labelled: ``(..., K)`` bool.
    """
    each = torch.exp(-(pred - keypoints).square().sum(-1) / scales) * labelled
    return each.sum(-1) / labelled.sum(-1).clamp(min=1)
