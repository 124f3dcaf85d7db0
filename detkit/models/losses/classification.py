"""Losses of classes: binary logits, one class of several, and distributions over bins."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from detkit.protocols import BinaryClassLoss, ClassLoss, DistributionLoss, DistributionTeacherLoss
from detkit.registry import LOSSES
from detkit.structures.targets import SparseTargets
from detkit.utils.ranks import num_ranks, shared_divisor

from .base_loss import BaseLoss


@LOSSES.register_module()
class BinaryCrossEntropyLoss(BaseLoss, BinaryClassLoss):
    """Sum of binary cross entropies over all logits, divided by ``avg_factor``.

    The cross entropy of logit x and target t is softplus(x) - t x, so targets of 0 need not be stored: no tensor
    of targets of the size of the logits, nearly all zeros, is made.

    Args:
        loss_weight: factor of the result.
        label_smoothing: ε; a target t becomes t (1 - ε) + ε / 2.
    """

    def __init__(self, loss_weight: float = 1.0, label_smoothing: float = 0.0) -> None:
        super().__init__(loss_weight)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f'label_smoothing must be in [0, 1), found {label_smoothing}')
        self.label_smoothing = label_smoothing

    def forward(
        self,
        pred: Tensor,
        target: SparseTargets,
        weight: Tensor | None = None,
        avg_factor: Tensor | float | None = None,
    ) -> Tensor:
        """Return the loss, a scalar, of logits of any shape; arguments as in ``BinaryClassLoss``."""
        avg_factor = divisor(pred, weight, avg_factor)
        flat_index, values = target
        looked_up = pred.flatten().index_select(0, flat_index)
        loss = F.softplus(pred)
        if self.label_smoothing:
            loss = loss - self.label_smoothing / 2 * pred
        if weight is not None:
            loss = loss * weight
            values = values * weight.expand_as(pred).flatten().index_select(0, flat_index)
        loss = loss.sum() - (1 - self.label_smoothing) * (values * looked_up).sum()
        return self.loss_weight * loss / avg_factor


@LOSSES.register_module()
class BinaryFocalLoss(BaseLoss, BinaryClassLoss):
    """Sum of focal losses over all logits (arXiv:1708.02002, equation 5), divided by ``avg_factor``.

    With p = sigmoid(logit) and target t the cross entropy is multiplied by (1 - q)^γ, q = t p + (1 - t)(1 - p), and by
    t α + (1 - t)(1 - α), which for targets between 0 and 1 is how ultralytics extends the paper's two cases. Targets
    are given sparsely, as in ``BinaryCrossEntropyLoss``.

    Args:
        gamma: γ; 0 gives cross entropy times the α factor.
        alpha: α.
        loss_weight: factor of the result.
        label_smoothing: ε; a target t becomes t (1 - ε) + ε / 2.
    """

    def __init__(
        self, gamma: float = 1.5, alpha: float = 0.25, loss_weight: float = 1.0, label_smoothing: float = 0.0
    ) -> None:
        super().__init__(loss_weight)
        if gamma < 0:
            raise ValueError(f'BinaryFocalLoss: gamma must be at least 0, found {gamma}')
        if not 0 <= alpha <= 1:
            raise ValueError(f'BinaryFocalLoss: alpha must be in [0, 1], found {alpha}')
        if not 0 <= label_smoothing < 1:
            raise ValueError(f'label_smoothing must be in [0, 1), found {label_smoothing}')
        self.gamma = gamma
        self.alpha = alpha
        self.label_smoothing = label_smoothing

    def forward(
        self,
        pred: Tensor,
        target: SparseTargets,
        weight: Tensor | None = None,
        avg_factor: Tensor | float | None = None,
    ) -> Tensor:
        """Return the loss, a scalar, of logits of any shape.

        The arguments are those of ``BinaryClassLoss``, except that a position with a target above 0 may not recur with
        another such target.
        """
        avg_factor = divisor(pred, weight, avg_factor)
        flat_index, values = target
        background = self.label_smoothing / 2
        loss = self._focal(pred, background)
        # At the few positions with a target, the difference from the loss of background.
        looked_up = pred.flatten().index_select(0, flat_index)
        change = self._focal(looked_up, values * (1 - self.label_smoothing) + background)
        change = change - self._focal(looked_up, background)
        if weight is not None:
            loss = loss * weight
            change = change * weight.expand_as(pred).flatten().index_select(0, flat_index)
        return self.loss_weight * (loss.sum() + change.sum()) / avg_factor

    def _focal(self, logits: Tensor, targets: Tensor | float) -> Tensor:
        wrong, entropy = logits.sigmoid(), F.softplus(logits)
        # All logits are compared with background. Where its target is 0, what changes nothing is left out, as each step
        # keeps another tensor of their size for the gradient.
        is_plain = not isinstance(targets, Tensor) and not targets
        if not is_plain:
            wrong, entropy = targets + (1 - 2 * targets) * wrong, entropy - targets * logits  # 1 - q
        if not is_plain or self.gamma < 1:
            # Without the lower bound, the slope of the power would be infinite where the base rounds to 0.
            wrong = wrong.clamp(min=torch.finfo(wrong.dtype).tiny)
        share = (1 - self.alpha) + (2 * self.alpha - 1) * targets
        return entropy * share * wrong**self.gamma


@LOSSES.register_module()
class CrossEntropyLoss(BaseLoss, ClassLoss):
    """Mean cross entropy of softmax probabilities.

    Args:
        loss_weight: factor of the result.
        label_smoothing: ε; the target is 1 - ε for the class plus ε / C for every class (arXiv:1512.00567).
        last_class_weight: weight of the samples of the last class in the mean; the others have weight 1. DETR's last
            class is 'no object', to which most queries belong.
    """

    def __init__(self, loss_weight: float = 1.0, label_smoothing: float = 0.0, last_class_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f'label_smoothing must be in [0, 1), found {label_smoothing}')
        if last_class_weight <= 0:
            raise ValueError(f'last_class_weight must be above 0, found {last_class_weight}')
        self.label_smoothing = label_smoothing
        self.last_class_weight = last_class_weight

    def forward(
        self, pred: Tensor, target: Tensor, weight: Tensor | None = None, avg_factor: Tensor | float | None = None
    ) -> Tensor:
        """Return the loss, a scalar; 0 without any sample.

        Args:
            pred: ``(N, C)``.
            target: ``(N,)`` int64.
            weight: ``(N,)``, beside the weight of the last class.
            avg_factor: the divisor; None with ``weight`` None takes the mean that ``last_class_weight`` weighs.
        """
        is_mean = weight is None and avg_factor is None
        if is_mean and num_ranks() == 1 and not len(target):
            return self.loss_weight * pred.sum()
        class_weight = None
        if self.last_class_weight != 1:
            class_weight = torch.ones_like(pred[0])
            class_weight[-1:].fill_(self.last_class_weight)  # assigning a number by index would wait for the copy
        if is_mean and num_ranks() == 1:
            return self.loss_weight * F.cross_entropy(pred, target, class_weight, label_smoothing=self.label_smoothing)
        losses = F.cross_entropy(pred, target, class_weight, label_smoothing=self.label_smoothing, reduction='none')
        if is_mean:
            total = len(target) if class_weight is None else class_weight.index_select(0, target).sum()
            avg_factor = shared_divisor(total, losses, at_least=torch.finfo(losses.dtype).tiny)
        return self.reduce(losses, weight, avg_factor)


@LOSSES.register_module()
class DistributionFocalLoss(BaseLoss, DistributionLoss):
    """Cross entropies of the two bins next to the target, weighted by nearness (arXiv:2006.04388, equation 6).

    Args:
        loss_weight: factor of the result.
    """

    def forward(
        self, pred: Tensor, target: Tensor, weight: Tensor | None = None, avg_factor: Tensor | float | None = None
    ) -> Tensor:
        """Return the mean over the four sides of each slot, as a scalar; arguments as in ``DistributionLoss``."""
        # A NaN target gives a NaN loss by ``nearness``; as an index it would be out of bounds.
        below = target.nan_to_num(0.0, 0.0, 0.0).long()
        nearness = target - below
        log_shares = F.log_softmax(pred, -1)
        two_bins = log_shares.gather(-1, torch.stack((below, below + 1), -1))  # (S, 4, bins) -> (S, 4, 2)
        losses = -(two_bins[..., 0] * (1 - nearness) + two_bins[..., 1] * nearness)
        return self.reduce(losses.mean(-1), weight, avg_factor)


@LOSSES.register_module()
class DistillationLoss(BaseLoss, DistributionTeacherLoss):
    """Kullback-Leibler divergence of distributions from those of a teacher, at a temperature (arXiv:1503.02531).

    Args:
        loss_weight: factor of the result.
        temperature: T; logits are divided by it, and the divergence is multiplied by its square.
    """

    def __init__(self, loss_weight: float = 1.0, temperature: float = 5.0) -> None:
        super().__init__(loss_weight)
        if temperature <= 0:
            raise ValueError(f'DistillationLoss: temperature must be above 0, found {temperature}')
        self.temperature = temperature

    def forward(
        self, pred: Tensor, target: Tensor, weight: Tensor | None = None, avg_factor: Tensor | float | None = None
    ) -> Tensor:
        """Return the mean over the four sides of each slot, as a scalar; see ``DistributionTeacherLoss``.

        The teacher's logits have no gradient.
        """
        shares = F.log_softmax(target.detach() / self.temperature, -1)
        divergences = F.kl_div(F.log_softmax(pred / self.temperature, -1), shares, reduction='none', log_target=True)
        return self.reduce(self.temperature**2 * divergences.sum(-1).mean(-1), weight, avg_factor)


def divisor(pred: Tensor, weight: Tensor | None, avg_factor: Tensor | float | None) -> Tensor | float:
    """Return ``avg_factor``, or the number of logits or the sum of their weights where it is None."""
    if avg_factor is not None:
        return avg_factor
    return shared_divisor(pred.numel() if weight is None else weight.expand_as(pred).sum(), pred)
