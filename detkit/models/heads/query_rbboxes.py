"""``QueryRBBoxes``: rotated boxes of the queries of a head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from detkit.protocols import AngleLoss, RotatedBoxLoss, RotatedImageCoder, RotatedQueryAssigner
from detkit.registry import LOSSES
from detkit.structures.gt_batch import GtBatch

from ..layers.turned_boxes import described_like
from ..losses.rotated_boxes import prob_iou
from ..postprocess.nms import Detections
from ..postprocess.rescale import rbboxes_to_original
from .base_head import BaseHead

# B images of at most M objects, N of them matched, Q queries.

# Pixels, the least side of an object whose ratio of sides is meaningful.
_LEAST_SIDE = 1.0
_MATCHING = dict(
    type='RotatedHungarianAssigner',
    match_costs=[
        dict(type='FocalClassCost', weight=2.0),
        dict(type='BBoxL1Cost', weight=5.0),
        dict(type='ProbIoUCost', weight=2.0),
    ],
)


class QueryRBBoxes:
    """Rotated boxes for a ``QueryHead``, to be named before it: ``class Head(QueryRBBoxes, Base)``.

    The box of a query has an angle as fifth coordinate (``turned_boxes``), which the selection and every layer of the
    decoder change, and with which the points of attention turn. Matching, losses and the quality that classes learn
    compare boxes by ``prob_iou`` in pixels. Either side may be w: a box learns the description of its object that has
    the nearest angle.

    Args:
        loss_angle: config of the loss of angles.
        **kwargs: arguments of the head. ``loss_bbox`` compares centres and sides, relative to the image; ``loss_iou``
            rotated boxes in pixels.
    """

    rbbox_takes = {
        'assigner': RotatedQueryAssigner,
        'bbox_coder': RotatedImageCoder,
        'loss_iou': RotatedBoxLoss,
        'loss_angle': AngleLoss,
    }
    rbbox_parts = {
        'assigner': _MATCHING,
        'bbox_coder': dict(type='RelativeRBBoxCoder'),
        'loss_iou': dict(type='ProbIoULoss', loss_weight=2.0),
        'loss_angle': dict(type='RotationLoss', loss_weight=1.0),
    }
    provides = ('rbbox',)
    rotated = True
    BBOXES = 'rbboxes'

    def __init__(self, *args: Any, loss_angle: dict | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.loss_angle = self.build_part(LOSSES, 'loss_angle', loss_angle)

    def loss(self, preds: dict[str, Any], gt: GtBatch) -> dict[str, Tensor]:
        """Return the losses of the head for ``gt.rbboxes``, and ``loss_angle``."""
        return super().loss(preds, with_rbboxes(gt, self))

    def encode_bboxes(self, gt: GtBatch, dtype: torch.dtype) -> Tensor:
        """Return the objects' rotated boxes ``(B, M, 5)``, relative to the images ``gt.img_shapes``."""
        return self.bbox_coder.encode(with_rbboxes(gt, self).rbboxes.to(dtype), gt.img_shapes)

    def overlaps(self, bboxes: Tensor, targets: Tensor, shapes: Tensor) -> Tensor:
        """Return the ``prob_iou`` of boxes and their targets, ``(N, 5)`` relative to images of shapes ``(N, 2)``."""
        return prob_iou(self._pixels(bboxes, shapes), self._pixels(targets, shapes))

    def pair_losses(
        self, bboxes: Tensor, targets: Tensor, shapes: Tensor, weight: Tensor, avg_factor: Tensor | float
    ) -> dict[str, Tensor]:
        """Return ``loss_box`` (L1 of centres and sides), ``loss_giou`` (of the overlap) and ``loss_angle``."""
        # With the long side as w, a box that lies across its object would be held there by a loss of quarter turns.
        targets = described_like(targets, bboxes[..., 4].detach(), shapes.to(targets.dtype).unbind(-1))
        rbboxes, rotated_targets = self._pixels(bboxes, shapes), self._pixels(targets, shapes)
        sides = rotated_targets[..., 2:4].clamp(min=_LEAST_SIDE)
        shown = torch.cat((rotated_targets[..., :2], sides, rotated_targets[..., 4:]), dim=-1)
        return dict(
            loss_box=self.loss_bbox(bboxes[..., :4], targets[..., :4], weight, avg_factor),
            loss_giou=self.loss_iou(rbboxes, rotated_targets, weight, avg_factor),
            loss_angle=self.loss_angle(rbboxes[..., 4], shown, weight, avg_factor),
        )

    def _pixels(self, bboxes: Tensor, shapes: Tensor) -> Tensor:
        """Return boxes ``(N, 5)``, relative to images of shapes ``(N, 2)``, in pixels."""
        return self.bbox_coder.decode(bboxes.unsqueeze(1), shapes).squeeze(1)

    def _instances(self, decoded: Mapping[str, Any], image: int, kept: Detections, meta: dict) -> InstanceData:
        """Return ``rbboxes (N, 5)``, which may exceed the image, and ``bboxes``, their upright hulls clipped to it."""
        rbboxes, bboxes = rbboxes_to_original(kept.bboxes, meta['matrix'], meta['ori_shape'])
        return InstanceData(
            rbboxes=rbboxes.cpu(), bboxes=bboxes.cpu(), scores=kept.scores.cpu(), labels=kept.labels.cpu()
        )


def with_rbboxes(gt: GtBatch, head: BaseHead) -> GtBatch:
    """Return ground truth that has rotated boxes.

    Raises:
        ValueError: there are objects, but no rotated boxes.
    """
    if gt.rbboxes is not None:
        return gt
    if gt.max_instances:
        raise ValueError(
            f'{type(head).__name__} learns rotated boxes, but the batch has none. Use a dataset that reads '
            "them (YoloTxtDataset with labels='obb', DotaDataset), or a detection head."
        )
    return replace(gt, rbboxes=gt.bboxes.new_zeros(gt.batch_size, 0, 5))
