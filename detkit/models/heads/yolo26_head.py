"""``YOLO26Head``: predicts boxes as distances, and no duplicates."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from detkit.protocols import CoordinateLoss
from detkit.registry import HEADS
from detkit.utils.errors import ConfigError

from ..priors import PointPriors
from .dual_head import DualHead
from .yolov8_head import Slots, YOLOv8Head


class DirectHead(YOLOv8Head):
    """``YOLOv8Head`` that predicts the distances to a box's sides themselves, in strides, instead of distributions.

    Args:
        loss_dfl: config of the loss that takes the place of the distributions': of distances, as fractions of the
            input's width and height.
        num_classes, in_channels, strides, **kwargs: see ``YOLOv8Head``.
    """

    takes = {**YOLOv8Head.takes, 'loss_dfl': CoordinateLoss}
    default_parts = {**YOLOv8Head.default_parts, 'loss_dfl': dict(type='L1Loss', loss_weight=0.375)}

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        reg_max: int = 1,
        depthwise_cls: bool = True,
        bbox_bias: float = 2.0,
        **kwargs,
    ) -> None:
        super().__init__(num_classes, in_channels, strides, reg_max, depthwise_cls, bbox_bias, **kwargs)

    def check_reg_max(self, reg_max: int) -> None:
        """Raise ``ConfigError`` for more than the distance itself."""
        if reg_max != 1:
            raise ConfigError(
                f'{type(self).__name__}: reg_max is {reg_max}, but the head predicts distances without distributions, '
                'for which it is 1; leave it out, or take YOLOv10Head, whose distances are distributions'
            )

    def _dfl(self, bbox_preds: Tensor, points: Tensor, targets: Tensor, slots: Slots, priors: PointPriors) -> Tensor:
        """Return the loss of distances ``(B, S, 4)`` against boxes ``(B, S, box)``, both in strides."""
        distances = self.bbox_coder.encode(points, targets)
        size_wh = (priors.points + priors.strides.unsqueeze(-1) / 2).amax(0)
        shares = priors.strides[slots.prior_idx].unsqueeze(-1) / size_wh.repeat(2)  # (B, S, 4)
        return self.loss_dfl(bbox_preds * shares, distances * shares, slots.scores, slots.avg_factor)


@HEADS.register_module()
class YOLO26Head(DualHead, DirectHead):
    """Head of YOLO26 (https://arxiv.org/abs/2606.03748): distances without distributions, results without suppression.

    The arguments are those of ``DualHead`` and ``YOLOv8Head``; ``loss_dfl`` is a loss of distances, see ``DirectHead``.
    """

    single = DirectHead
    takes = {**DualHead.takes, **DirectHead.takes}
    default_parts = {**DualHead.default_parts, **DirectHead.default_parts}
