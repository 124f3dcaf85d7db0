"""``RTDETROBBHead``: ``RTDETRHead`` for rotated boxes."""

from __future__ import annotations

from detkit.registry import HEADS

from .query_rbboxes import QueryRBBoxes
from .rtdetr_head import RTDETRHead


@HEADS.register_module()
class RTDETROBBHead(QueryRBBoxes, RTDETRHead):
    """``RTDETRHead`` for rotated boxes: the boxes of queries have an angle, see ``QueryRBBoxes``.

    Args:
        loss_angle: config of the loss of angles.
        **kwargs: arguments of ``RTDETRHead``.
    """

    takes = {**RTDETRHead.takes, **QueryRBBoxes.rbbox_takes}
    default_parts = {**RTDETRHead.default_parts, **QueryRBBoxes.rbbox_parts}
