"""``YOLOv3Head``: anchors that learn the boxes of their own cell."""

from __future__ import annotations

from detkit.registry import HEADS

from .anchor_head import AnchorHead


@HEADS.register_module()
class YOLOv3Head(AnchorHead):
    """The head of YOLOv3, with the losses of ultralytics' YOLOv3-SPP (no paper; the network is arXiv:1804.02767).

    The arguments are those of ``AnchorHead``. ``BinaryFocalLoss`` is the usual alternative for ``loss_obj`` and
    ``loss_cls``.
    """

    default_parts = {
        'assigner': dict(type='YOLOv3AnchorAssigner'),
        'bbox_coder': dict(type='YOLOv3BBoxCoder'),
        'loss_bbox': dict(type='IoULoss', mode='giou', loss_weight=3.54),
        'loss_obj': dict(type='BinaryCrossEntropyLoss', loss_weight=64.3),
        'loss_cls': dict(type='BinaryCrossEntropyLoss', loss_weight=37.4),
    }
    GAIN_SIZE = 320
    GAIN_POWER = 1
