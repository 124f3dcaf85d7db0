"""``YOLOv3Head``: anchors that learn the boxes of their own cell."""

from __future__ import annotations

from collections.abc import Sequence

from detkit.registry import HEADS

from .anchor_head import AnchorHead


@HEADS.register_module()
class YOLOv3Head(AnchorHead):
    """The head of YOLOv3, with the losses of ultralytics' YOLOv3-SPP (no paper; the network is arXiv:1804.02767).

    Args:
        assigner: config, ``YOLOv3AnchorAssigner`` by default.
        bbox_coder: config, ``YOLOv3BBoxCoder`` by default.
        loss_bbox: config, ``IoULoss`` of mode 'giou' and weight 3.54 by default.
        loss_obj, loss_cls: configs, ``BinaryCrossEntropyLoss`` of weight 64.3 and 37.4 by default;
            ``BinaryFocalLoss`` is the usual alternative.
        num_classes, in_channels, strides, **kwargs: of ``AnchorHead``.
    """

    GAIN_SIZE = 320
    GAIN_POWER = 1

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        assigner: dict | None = None,
        bbox_coder: dict | None = None,
        loss_bbox: dict | None = None,
        loss_obj: dict | None = None,
        loss_cls: dict | None = None,
        **kwargs,
    ) -> None:
        super().__init__(
            num_classes,
            in_channels,
            strides,
            assigner=assigner or dict(type='YOLOv3AnchorAssigner'),
            bbox_coder=bbox_coder or dict(type='YOLOv3BBoxCoder'),
            loss_bbox=loss_bbox or dict(type='IoULoss', mode='giou', loss_weight=3.54),
            loss_obj=loss_obj or dict(type='BinaryCrossEntropyLoss', loss_weight=64.3),
            loss_cls=loss_cls or dict(type='BinaryCrossEntropyLoss', loss_weight=37.4),
            **kwargs,
        )
