"""``CrossEntropyLoss``: one class of several."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.registry import LOSSES


@LOSSES.register_module()
class CrossEntropyLoss(nn.Module):
    """Mean cross entropy of softmax probabilities.

    Args:
        loss_weight: factor of the result.
        label_smoothing: ε; the target is 1 - ε for the class plus ε / C for every class (arXiv:1512.00567).
        last_class_weight: how much a sample of the last class counts in the mean, against 1 of every other; DETR's
            last class is 'no object', which most of its queries are.
    """

    def __init__(self, loss_weight: float = 1.0, label_smoothing: float = 0.0, last_class_weight: float = 1.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(f'label_smoothing must be in [0, 1), found {label_smoothing}')
        if last_class_weight <= 0:
            raise ValueError(f'last_class_weight must be above 0, found {last_class_weight}')
        self.loss_weight = loss_weight
        self.label_smoothing = label_smoothing
        self.last_class_weight = last_class_weight

    def forward(self, cls_logits: Tensor, labels: Tensor) -> Tensor:
        """The (weighted) mean over the samples, a scalar; 0 without any sample.

        Args:
            cls_logits: ``(B, C)``.
            labels: ``(B,)`` int64.
        """
        if not len(labels):
            return self.loss_weight * cls_logits.sum()
        weight = None
        if self.last_class_weight != 1:
            weight = torch.ones_like(cls_logits[0])
            weight[-1:].fill_(self.last_class_weight)  # assigning a number by index would wait for the copy
        return self.loss_weight * F.cross_entropy(cls_logits, labels, weight, label_smoothing=self.label_smoothing)
