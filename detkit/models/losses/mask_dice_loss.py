"""``MaskDiceLoss``: overlap of whole masks."""

from __future__ import annotations

from torch import Tensor, nn

from detkit.registry import LOSSES


@LOSSES.register_module()
class MaskDiceLoss(nn.Module):
    """One minus the Dice coefficient of probabilities p and truth t (V-Net, arXiv:1606.04797), with DETR's smoothing:
    1 - (2 Σ p t + 1) / (Σ p + Σ t + 1), so that an empty mask predicted empty costs nothing.

    Args:
        loss_weight: factor of the result.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, mask_logits: Tensor, targets: Tensor, weight: Tensor, avg_factor: Tensor | float) -> Tensor:
        """The loss, a scalar; arguments as of ``MaskFocalLoss``."""
        if not mask_logits.numel():
            return mask_logits.sum() * 0
        probabilities = mask_logits.sigmoid()
        shared = (probabilities * targets).sum(1)
        loss = 1 - (2 * shared + 1) / (probabilities.sum(1) + targets.sum(1) + 1)
        return self.loss_weight * (loss * weight).sum() / avg_factor
