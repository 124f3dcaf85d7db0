"""``CrossEntropyLoss``: one class of several."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from detkit.registry import MODELS


@MODELS.register_module()
class CrossEntropyLoss(nn.Module):
    """Mean cross entropy of softmax probabilities.

    Args:
        loss_weight: factor of the result.
        label_smoothing: ε; the target is 1 - ε for the class plus ε / C for every class (arXiv:1512.00567).
    """

    def __init__(self, loss_weight: float = 1., label_smoothing: float = 0.) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f'label_smoothing must be in [0, 1), found {label_smoothing}')
        self.loss_weight = loss_weight
        self.label_smoothing = label_smoothing

    def forward(self, cls_logits: Tensor, labels: Tensor) -> Tensor:
        """The mean over the samples, a scalar; 0 without any sample.

        Args:
            cls_logits: ``(B, C)``.
            labels: ``(B,)`` int64.
        """
        if not len(labels):
            return self.loss_weight * cls_logits.sum()
        return self.loss_weight * F.cross_entropy(cls_logits, labels, label_smoothing=self.label_smoothing)
