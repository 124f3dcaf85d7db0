"""``RFDETROBBHead``: ``RFDETRHead`` for rotated boxes."""

from __future__ import annotations

from detkit.registry import HEADS

from .query_rbboxes import QueryRBBoxes
from .rfdetr_head import RFDETRHead


@HEADS.register_module()
class RFDETROBBHead(QueryRBBoxes, RFDETRHead):
    """``RFDETRHead`` for rotated boxes: the boxes of queries have an angle, see ``QueryRBBoxes``.

    Args:
        loss_angle: config of the loss of angles.
        **kwargs: arguments of ``RFDETRHead``.
    """

    takes = {**RFDETRHead.takes, **QueryRBBoxes.rbbox_takes}
    default_parts = {**RFDETRHead.default_parts, **QueryRBBoxes.rbbox_parts}
