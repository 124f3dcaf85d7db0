"""``RTDETRSegmentHead``: ``RTDETRHead`` with a mask for each object."""

from __future__ import annotations

from detkit.registry import HEADS

from .query_masks import QueryMasks
from .rtdetr_head import RTDETRHead


@HEADS.register_module()
class RTDETRSegmentHead(QueryMasks, RTDETRHead):
    """``RTDETRHead`` with a mask for each object, which is predicted and learnt as RF-DETR-Seg does.

    Args:
        mask_stride: pixels of the image for one of a mask, along each side.
        mask_cost_weights: factors of the cross entropy and of the Dice loss in the matching.
        loss_mask, loss_dice: configs of the losses; see ``QueryMasks``.
        **kwargs: arguments of ``RTDETRHead``.
    """

    takes = {**RTDETRHead.takes, **QueryMasks.mask_takes}
    default_parts = {**RTDETRHead.default_parts, **QueryMasks.mask_parts}
