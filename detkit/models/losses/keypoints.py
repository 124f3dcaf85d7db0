"""Losses of keypoints: of positions, by COCO's object keypoint similarity, and of whether each is labelled."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from detkit.protocols import KeypointClassLoss, KeypointPositionLoss
from detkit.registry import LOSSES
from detkit.structures.keypoints import default_sigmas
from detkit.structures.targets import KeypointTargets

from .base_loss import BaseLoss

_EPS = 1e-9


@LOSSES.register_module()
class KeypointLoss(BaseLoss, KeypointPositionLoss):
    """1 - exp(-d² / (2 area (2 sigma)²)) of each labelled keypoint, with the distance d from its target.

    That is one minus a keypoint's share of the object keypoint similarity (https://cocodataset.org/#keypoints-eval),
    with the area of the object's box. An object's loss is the mean over its labelled keypoints, 0 where it has none;
    the result is the mean over positives.

    Args:
        num_keypoints: K; wired from the head.
        sigmas: K numbers, the deviation of annotators relative to the square root of an object's area; by default
            COCO's for 17 keypoints and 1 / K each for any other number.
        loss_weight: factor of the result.
    """

    def __init__(
        self, num_keypoints: int = 17, sigmas: Sequence[float] | None = None, loss_weight: float = 1.0
    ) -> None:
        super().__init__(loss_weight)
        sigmas = default_sigmas(num_keypoints) if sigmas is None else sigmas
        if len(sigmas) != num_keypoints or min(sigmas) <= 0:
            raise ValueError(f'KeypointLoss needs {num_keypoints} positive sigmas, found {sigmas}')
        self.register_buffer('variances', (2 * torch.tensor(sigmas)) ** 2, persistent=False)

    def forward(
        self,
        pred: Tensor,
        target: KeypointTargets,
        weight: Tensor | None = None,
        avg_factor: Tensor | float | None = None,
    ) -> Tensor:
        """Return the loss, a scalar; arguments as in ``KeypointPositionLoss``."""
        keypoints, visible, areas = target
        distances = (pred - keypoints).square().sum(-1)
        scale = 2 * (areas.unsqueeze(-1) + _EPS) * self.variances.to(pred.dtype)
        labelled = visible if weight is None else visible & (weight > 0).unsqueeze(-1)
        losses = -torch.expm1(-distances / scale) * labelled
        means = losses.sum(-1) / labelled.sum(-1).clamp(min=1)
        return self.reduce(means, weight, avg_factor)


@LOSSES.register_module()
class KeypointVisibilityLoss(BaseLoss, KeypointClassLoss):
    """Binary cross entropy of whether a keypoint is labelled, the mean over positives and keypoints.

    Args:
        loss_weight: factor of the result.
    """

    def forward(
        self, pred: Tensor, target: Tensor, weight: Tensor | None = None, avg_factor: Tensor | float | None = None
    ) -> Tensor:
        """Return the loss, a scalar; arguments as in ``KeypointClassLoss``."""
        losses = F.binary_cross_entropy_with_logits(pred, target.to(pred.dtype), reduction='none').mean(-1)
        return self.reduce(losses, weight, avg_factor)
