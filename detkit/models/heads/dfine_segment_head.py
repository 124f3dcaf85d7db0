"""``DFINESegmentHead``: ``DFINEHead`` with a mask for each object."""

from __future__ import annotations

from detkit.registry import HEADS

from .dfine_head import DFINEHead
from .query_masks import QueryMasks


@HEADS.register_module()
class DFINESegmentHead(QueryMasks, DFINEHead):
    """``DFINEHead`` with a mask for each object, which is predicted and learnt as RF-DETR-Seg does.

    A layer's masks are learnt by the queries that this layer matches, as its classes are. The box that edges start from
    has no mask.

    Args:
        mask_stride: pixels of the image for one of a mask, along each side.
        mask_cost_weights: factors of the cross entropy and of the Dice loss in the matching.
        loss_mask, loss_dice: configs of the losses; see ``QueryMasks``.
        **kwargs: arguments of ``DFINEHead``.
    """

    takes = {**DFINEHead.takes, **QueryMasks.mask_takes}
    default_parts = {**DFINEHead.default_parts, **QueryMasks.mask_parts}
