"""Costs of assigning an object to a query, whose sum ``HungarianAssigner`` minimises."""

from __future__ import annotations

from torch import Tensor

from detkit.protocols import MatchCost
from detkit.registry import MATCH_COSTS
from detkit.utils.errors import ConfigError

from ..coders.relative_bbox_coder import cxcywh_to_ordered_xyxy, without_crossed_edges
from ..layers.turned_boxes import described_like
from ..losses.boxes import aligned_iou
from ..losses.rotated_boxes import prob_iou

# For boxes without area only: relative to the image, one pixel has an area of about 1e-6.
_EPS = 1e-12
# As in the published implementations, so that ties fall alike.
_LOG_EPS = 1e-8
# Pixels of an image's side, for the constants of ``prob_iou``, which are meant for boxes in pixels.
_SIDE = 1000.0


class BaseMatchCost(MatchCost):
    """Base of match costs.

    Args:
        weight: factor of the cost.
    """

    def __init__(self, weight: float = 1.0) -> None:
        if weight < 0:
            raise ConfigError(f'{type(self).__name__}: weight must not be negative, found {weight}')
        self.weight = weight

    def __call__(self, cls_logits: Tensor, bboxes: Tensor, labels: Tensor, gt_bboxes: Tensor) -> Tensor:
        """Return the cost of every pair of a query and an object of its image.

        Args:
            cls_logits: ``(..., B, Q, C)``; 'no object' may be one more class, the last.
            bboxes: ``(..., B, Q, 4)`` cxcywh relative to the image; or rotated boxes ``(..., B, Q, 5)`` in units of the
                root of the image's area.
            labels: ``(B, M)`` int64, at least 0.
            gt_bboxes: ``(B, M, 4)``, or 5, in the same form.

        Returns:
            ``(..., B, Q, M)``.
        """
        raise NotImplementedError


@MATCH_COSTS.register_module()
class ClassCost(BaseMatchCost):
    """Negative probability (softmax) of the object's class."""

    box_dims = (4, 5)

    def __call__(self, cls_logits: Tensor, bboxes: Tensor, labels: Tensor, gt_bboxes: Tensor) -> Tensor:
        scores = cls_logits.softmax(-1)
        class_idx = labels.unsqueeze(-2).expand(*scores.shape[:-1], -1)  # (B, M) -> (..., B, Q, M)
        return -self.weight * scores.gather(-1, class_idx)


@MATCH_COSTS.register_module()
class FocalClassCost(BaseMatchCost):
    """Focal loss (arXiv:1708.02002) of the object's class as a positive, less that as background (Deformable DETR).

    With p = sigmoid(logit of the class) it is -α (1 - p)ᵞ log p + (1 - α) pᵞ log(1 - p).

    Args:
        weight: factor of the cost.
        alpha, gamma: α and γ.
    """

    box_dims = (4, 5)

    def __init__(self, weight: float = 1.0, alpha: float = 0.25, gamma: float = 2.0) -> None:
        super().__init__(weight)
        self.alpha = alpha
        self.gamma = gamma

    def __call__(self, cls_logits: Tensor, bboxes: Tensor, labels: Tensor, gt_bboxes: Tensor) -> Tensor:
        class_idx = labels.unsqueeze(-2).expand(*cls_logits.shape[:-1], -1)  # (B, M) -> (..., B, Q, M)
        probs = cls_logits.gather(-1, class_idx).sigmoid()
        positive = self.alpha * (1 - probs) ** self.gamma * -(probs + _LOG_EPS).log()
        background = (1 - self.alpha) * probs**self.gamma * -(1 - probs + _LOG_EPS).log()
        return self.weight * (positive - background)


@MATCH_COSTS.register_module()
class BBoxL1Cost(BaseMatchCost):
    """Sum of the absolute differences of the four coordinates, cxcywh relative to the image.

    Rotated boxes are compared with the description of the object whose angle is nearest, see ``described_like``.
    """

    box_dims = (4, 5)

    def __call__(self, cls_logits: Tensor, bboxes: Tensor, labels: Tensor, gt_bboxes: Tensor) -> Tensor:
        bboxes, gt_bboxes = bboxes.unsqueeze(-2), gt_bboxes.unsqueeze(-3)
        if bboxes.shape[-1] == 5:
            gt_bboxes = described_like(gt_bboxes, bboxes[..., 4])
        return self.weight * (bboxes - gt_bboxes)[..., :4].abs().sum(-1)


@MATCH_COSTS.register_module()
class GIoUCost(BaseMatchCost):
    """Negative generalised IoU (arXiv:1902.09630)."""

    def __call__(self, cls_logits: Tensor, bboxes: Tensor, labels: Tensor, gt_bboxes: Tensor) -> Tensor:
        # (..., B, Q, 1, 4) against (B, 1, M, 4)
        pairs = cxcywh_to_ordered_xyxy(bboxes).unsqueeze(-2), cxcywh_to_ordered_xyxy(gt_bboxes).unsqueeze(-3)
        return -self.weight * aligned_iou(*pairs, 'giou', _EPS)


@MATCH_COSTS.register_module()
class ScoreIoUCost(BaseMatchCost):
    """Negative probability (sigmoid) of the object's class times a power of the IoU.

    It is the only cost of the last epochs of DEIMv2 (arXiv:2509.20787; its published code has the power 4).

    Args:
        weight: factor of the cost.
        power: exponent of the IoU.
    """

    def __init__(self, weight: float = 1.0, power: float = 4.0) -> None:
        super().__init__(weight)
        if power < 0:
            raise ConfigError(f'ScoreIoUCost: power must not be negative, found {power}')
        self.power = power

    def __call__(self, cls_logits: Tensor, bboxes: Tensor, labels: Tensor, gt_bboxes: Tensor) -> Tensor:
        class_idx = labels.unsqueeze(-2).expand(*cls_logits.shape[:-1], -1)  # (B, M) -> (..., B, Q, M)
        probs = cls_logits.gather(-1, class_idx).sigmoid()
        pairs = cxcywh_to_ordered_xyxy(bboxes).unsqueeze(-2), cxcywh_to_ordered_xyxy(gt_bboxes).unsqueeze(-3)
        return -self.weight * probs * aligned_iou(*pairs, 'iou', _EPS) ** self.power


@MATCH_COSTS.register_module()
class ProbIoUCost(BaseMatchCost):
    """Negative overlap of rotated boxes by ``prob_iou`` (arXiv:2106.06072)."""

    box_dims = (5,)

    def __call__(self, cls_logits: Tensor, bboxes: Tensor, labels: Tensor, gt_bboxes: Tensor) -> Tensor:
        scale = bboxes.new_tensor([_SIDE] * 4 + [1.0])
        # (..., B, Q, 1, 5) against (B, 1, M, 5)
        bboxes = without_crossed_edges(bboxes)
        return -self.weight * prob_iou((bboxes * scale).unsqueeze(-2), (gt_bboxes * scale).unsqueeze(-3))
