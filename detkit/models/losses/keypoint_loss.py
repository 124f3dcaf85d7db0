"""``KeypointLoss``: how far keypoints are off, by COCO's object keypoint similarity; and whether each can be seen."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.registry import LOSSES
from detkit.structures.keypoints import default_sigmas

_EPS = 1e-9


@LOSSES.register_module()
class KeypointLoss(nn.Module):
    """1 - exp(-d² / (2 area (2 sigma)²)) of each labelled keypoint, d being its distance from where it should be.

    That is one minus a keypoint's share of the object keypoint similarity (https://cocodataset.org/#keypoints-eval),
    with an object's box for its area. An object's loss is the mean over its labelled keypoints, 0 where it has none;
    the result is the mean over positives.

    Args:
        num_keypoints: K; wired from the head.
        sigmas: K numbers, how far people place a keypoint apart, relative to the square root of an object's area. By
            default COCO's for 17 keypoints and 1 / K each for any other number.
        loss_weight: factor of the result.
    """

    def __init__(
        self, num_keypoints: int = 17, sigmas: Sequence[float] | None = None, loss_weight: float = 1.0
    ) -> None:
        super().__init__()
        sigmas = default_sigmas(num_keypoints) if sigmas is None else sigmas
        if len(sigmas) != num_keypoints or min(sigmas) <= 0:
            raise ValueError(f'KeypointLoss needs {num_keypoints} positive sigmas, found {sigmas}')
        self.loss_weight = loss_weight
        self.register_buffer('variances', (2 * torch.tensor(sigmas)) ** 2, persistent=False)

    def forward(self, keypoints: Tensor, targets: Tensor, visible: Tensor, areas: Tensor, valid: Tensor) -> Tensor:
        """The loss, a scalar.

        Args:
            keypoints, targets: ``(..., K, 2)`` xy, in one unit.
            visible: ``(..., K)`` bool, whether a keypoint is labelled.
            areas: ``(...)``, of the objects, in the unit's square.
            valid: ``(...)`` bool, False where a slot holds nothing.
        """
        labelled = visible & valid.unsqueeze(-1)
        distances = (keypoints - targets).square().sum(-1)
        scale = 2 * (areas.unsqueeze(-1) + _EPS) * self.variances.to(keypoints.dtype)
        losses = -torch.expm1(-distances / scale) * labelled
        means = losses.sum(-1) / labelled.sum(-1).clamp(min=1)
        return self.loss_weight * means.sum() / valid.sum().clamp(min=1)


@LOSSES.register_module()
class KeypointVisibilityLoss(nn.Module):
    """Binary cross entropy of whether a keypoint is labelled, the mean over positives and keypoints.

    Args:
        loss_weight: factor of the result.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, visible: Tensor, valid: Tensor) -> Tensor:
        """The loss, a scalar.

        Args:
            logits: ``(..., K)``.
            visible: ``(..., K)`` bool.
            valid: ``(...)`` bool, False where a slot holds nothing.
        """
        losses = F.binary_cross_entropy_with_logits(logits, visible.to(logits.dtype), reduction='none').mean(-1)
        return self.loss_weight * (losses * valid).sum() / valid.sum().clamp(min=1)
