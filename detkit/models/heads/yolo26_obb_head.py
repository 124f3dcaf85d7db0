"""``YOLO26OBBHead``: predicts rotated boxes, and no duplicates."""

from __future__ import annotations

from detkit.protocols import RotatedPointAssigner
from detkit.registry import HEADS

from .dual_head import DualHead
from .yolo26_head import DirectHead
from .yolov8_obb_head import YOLOv8OBBHead


class DirectOBBHead(YOLOv8OBBHead, DirectHead):
    """``YOLOv8OBBHead`` on ``DirectHead``, with a coder of which angles are regressed without bounds.

    The arguments are those of both; ``loss_dfl`` is a loss of distances along the sides of the rotated box.
    """

    takes = {**DirectHead.takes, **YOLOv8OBBHead.takes, 'loss_dfl': DirectHead.takes['loss_dfl']}
    default_parts = {
        **YOLOv8OBBHead.default_parts,
        'loss_dfl': DirectHead.default_parts['loss_dfl'],
        'bbox_coder': dict(type='FreeAngleDistanceCoder'),
    }


@HEADS.register_module()
class YOLO26OBBHead(DualHead, DirectOBBHead):
    """``YOLO26Head`` for rotated boxes (https://arxiv.org/abs/2606.03748): free angles, results without suppression.

    The arguments are those of ``DualHead`` and ``DirectOBBHead``.
    """

    single = DirectOBBHead
    takes = {**DirectOBBHead.takes, 'one_assigner': RotatedPointAssigner}
    default_parts = {
        **DirectOBBHead.default_parts,
        'one_assigner': dict(type='RotatedTaskAlignedAssigner', topk=7, keep=1),
    }
