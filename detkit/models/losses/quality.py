"""Losses of class logits that learn how well the box fits: varifocal, matchability-aware, IoU-aware."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from detkit.protocols import QualityClassLoss
from detkit.registry import LOSSES
from detkit.structures.targets import QualityTargets

from .base_loss import BaseLoss
from .classification import divisor

# The least target of a matched query's class, however poor its box and its probability are.
_LEAST_TARGET = 0.01


class BaseQualityLoss(BaseLoss, QualityClassLoss):
    """Base of losses of two parts: of the logits that learn a quality, and of all others, the background.

    The background, whose target is 0, has the loss -α pᵞ log(1 - p) with p = sigmoid(logit); pᵞ is not differentiated,
    unless a child sets ``FOCAL_GRADIENT``. A child writes ``matched``.

    Args:
        alpha: α.
        gamma: γ.
        loss_weight: factor of the result.
    """

    FOCAL_GRADIENT = False

    def __init__(self, alpha: float, gamma: float, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        if alpha < 0 or gamma < 0:
            raise ValueError(f'{type(self).__name__}: alpha and gamma must be at least 0, found {alpha} and {gamma}')
        self.alpha = alpha
        self.gamma = gamma

    def forward(
        self,
        pred: Tensor,
        target: QualityTargets,
        weight: Tensor | None = None,
        avg_factor: Tensor | float | None = None,
    ) -> Tensor:
        """Return the loss, a scalar, of logits of any shape; arguments as in ``QualityClassLoss``."""
        avg_factor = divisor(pred, weight, avg_factor)
        focal = (pred if self.FOCAL_GRADIENT else pred.detach()).sigmoid() ** self.gamma
        background = self.alpha * focal * F.softplus(pred)
        if weight is not None:
            background = background * weight
        flat_index, quality, valid = target
        matched = self.matched(pred.flatten().index_select(0, flat_index), quality.to(pred.dtype))
        if weight is not None:
            matched = matched * weight.expand_as(pred).flatten().index_select(0, flat_index)
        # At the few positions with a quality, the difference from the loss of background.
        change = (matched - background.flatten().index_select(0, flat_index)) * valid
        return self.loss_weight * (background.sum() + change.sum()) / avg_factor

    def matched(self, logits: Tensor, quality: Tensor) -> Tensor:
        """Return the losses ``(S,)`` of logits ``(S,)`` that learn a ``quality (S,)`` in [0, 1]."""
        raise NotImplementedError


@LOSSES.register_module()
class VarifocalLoss(BaseQualityLoss):
    """Sum of varifocal losses over all logits (arXiv:2008.13367, equation 2), divided by ``avg_factor``.

    A logit that learns the quality q has q times the binary cross entropy with q, so none where q is 0; the background
    has -α pᵞ log(1 - p). As in RT-DETR and D-FINE, whose settings are the defaults, pᵞ is not differentiated.

    Args:
        alpha, gamma: α and γ of the background.
        loss_weight: factor of the result.
    """

    def __init__(self, alpha: float = 0.75, gamma: float = 2.0, loss_weight: float = 1.0) -> None:
        super().__init__(alpha, gamma, loss_weight)

    def matched(self, logits: Tensor, quality: Tensor) -> Tensor:
        """Return the losses ``(S,)`` of logits ``(S,)`` that learn a ``quality (S,)`` in [0, 1]."""
        return quality * (F.softplus(logits) - quality * logits)


@LOSSES.register_module()
class MatchabilityAwareLoss(BaseQualityLoss):
    """Sum of matchability-aware losses over all logits (arXiv:2412.04234, section 3.3), divided by ``avg_factor``.

    A logit that learns the quality q has the binary cross entropy with qᵞ, so that a poor match counts as much as a
    good one; the background has -α pᵞ log(1 - p), pᵞ not differentiated.

    Args:
        alpha, gamma: α of the background, and γ of both. DEIM's are the defaults.
        loss_weight: factor of the result.
    """

    def __init__(self, alpha: float = 1.0, gamma: float = 1.5, loss_weight: float = 1.0) -> None:
        super().__init__(alpha, gamma, loss_weight)

    def matched(self, logits: Tensor, quality: Tensor) -> Tensor:
        """Return the losses ``(S,)`` of logits ``(S,)`` that learn a ``quality (S,)`` in [0, 1]."""
        return F.softplus(logits) - quality**self.gamma * logits


@LOSSES.register_module()
class IoUAwareBCELoss(BaseQualityLoss):
    """Sum of IoU-aware binary cross entropies over all logits (Align-DETR, arXiv:2304.07527), over ``avg_factor``.

    A logit with the probability p that learns the quality q has the binary cross entropy with the target
    t = pᵃ q¹⁻ᵃ, at least 0.01, which is not differentiated; the background has -pᵞ log(1 - p), wholly differentiated.
    The defaults are LW-DETR's and RF-DETR's.

    Args:
        trust: a, the exponent of the probability in the target.
        gamma: γ of the background.
        loss_weight: factor of the result.
    """

    FOCAL_GRADIENT = True

    def __init__(self, trust: float = 0.25, gamma: float = 2.0, loss_weight: float = 1.0) -> None:
        super().__init__(1.0, gamma, loss_weight)
        if not 0 <= trust <= 1:
            raise ValueError(f'IoUAwareBCELoss: trust must be in [0, 1], found {trust}')
        self.trust = trust

    def matched(self, logits: Tensor, quality: Tensor) -> Tensor:
        """Return the losses ``(S,)`` of logits ``(S,)`` that learn a ``quality (S,)`` in [0, 1]."""
        target = (logits.detach().sigmoid() ** self.trust * quality ** (1 - self.trust)).clamp(min=_LEAST_TARGET)
        return F.softplus(logits) - target * logits
