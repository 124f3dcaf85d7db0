"""``RFDETRSegmentHead``: ``RFDETRHead`` with a mask for each object."""

from __future__ import annotations

from detkit.registry import HEADS

from .query_masks import QueryMasks
from .rfdetr_head import RFDETRHead


@HEADS.register_module()
class RFDETRSegmentHead(QueryMasks, RFDETRHead):
    """``RFDETRHead`` with a mask for each object (RF-DETR-Seg, arXiv:2511.09554).

    Args:
        mask_stride: pixels of the image for one of a mask, along each side.
        mask_cost_weights: factors of the cross entropy and of the Dice loss in the matching.
        loss_mask, loss_dice: configs of the losses; see ``QueryMasks``.
        **kwargs: arguments of ``RFDETRHead``.
    """

    takes = {**RFDETRHead.takes, **QueryMasks.mask_takes}
    default_parts = {**RFDETRHead.default_parts, **QueryMasks.mask_parts}
