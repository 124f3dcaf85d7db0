"""``YOLOv10Head``: predicts distributions of distances, and no duplicates."""

from __future__ import annotations

from collections.abc import Sequence

from detkit.registry import HEADS

from .dual_head import DualHead
from .yolov8_head import YOLOv8Head


@HEADS.register_module()
class YOLOv10Head(DualHead):
    """Head of YOLOv10 (https://arxiv.org/abs/2405.14458): ``YOLOv8Head`` with results without suppression.

    Both assigners have the same metric, so that the best positive of the one-to-one assignment is that of the other.
    The weights of the losses are twice YOLOv8's, so that the mean over the two assignments is the paper's sum. The
    arguments are those of ``DualHead`` and ``YOLOv8Head``.
    """

    single = YOLOv8Head
    default_parts = {
        **DualHead.default_parts,
        'one_assigner': dict(type='TaskAlignedAssigner', topk=1),
        'loss_cls': dict(type='BinaryCrossEntropyLoss', loss_weight=1.0),
        'loss_bbox': dict(type='IoULoss', mode='ciou', loss_weight=15.0),
        'loss_dfl': dict(type='DistributionFocalLoss', loss_weight=3.0),
    }

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        one_assigner: dict | None = None,
        many_weight: float = 0.5,
        depthwise_cls: bool = True,
        bbox_bias: float = 2.0,
        **kwargs,
    ) -> None:
        super().__init__(
            num_classes,
            in_channels,
            strides,
            one_assigner,
            many_weight,
            depthwise_cls=depthwise_cls,
            bbox_bias=bbox_bias,
            **kwargs,
        )
