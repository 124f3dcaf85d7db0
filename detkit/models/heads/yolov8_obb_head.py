"""``YOLOv8OBBHead``: predicts rotated boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from detkit.protocols import AngleLoss, RotatedBoxLoss, RotatedCoder, RotatedPointAssigner
from detkit.registry import HEADS, LOSSES
from detkit.structures.gt_batch import GtBatch

from ..postprocess.nms import Detections
from ..postprocess.rescale import rbboxes_to_original
from ..postprocess.rotated_nms import ROTATED_NMS_KEYS, batched_rotated_nms
from ..priors import PointPriors
from .query_rbboxes import with_rbboxes
from .yolov8_head import Slots, YOLOv8Head


@HEADS.register_module()
class YOLOv8OBBHead(YOLOv8Head):
    """``YOLOv8Head`` for rotated boxes: a third branch predicts the angle of the frame in which distances are measured.

    Args:
        loss_angle: config of the loss of angles; of weight 0, training is that of ultralytics before 8.4.
        num_classes, in_channels, strides, **kwargs: see ``YOLOv8Head``. Its ``test_cfg`` holds arguments of
            ``batched_rotated_nms``.
    """

    provides = ('rbbox',)
    takes = {
        **YOLOv8Head.takes,
        'assigner': RotatedPointAssigner,
        'bbox_coder': RotatedCoder,
        'loss_bbox': RotatedBoxLoss,
        'loss_angle': AngleLoss,
    }
    default_parts = {
        **YOLOv8Head.default_parts,
        'assigner': dict(type='RotatedTaskAlignedAssigner'),
        'bbox_coder': dict(type='RotatedDistanceCoder'),
        'loss_bbox': dict(type='ProbIoULoss', loss_weight=7.5),
        'loss_angle': dict(type='RotationLoss', loss_weight=1.0),
    }
    TEST_KEYS = ROTATED_NMS_KEYS
    SUPPRESSION = 'prob_iou'
    BBOXES = 'rbboxes'

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        loss_angle: dict | None = None,
        **kwargs,
    ) -> None:
        super().__init__(num_classes, in_channels, strides, **kwargs)
        self.loss_angle = self.build_part(LOSSES, 'loss_angle', loss_angle)

    def _build_branches(self) -> None:
        super()._build_branches()
        self.angle_branches = self._branches(max(self.in_channels[0] // 4, 1), 1)

    def cell_preds(self, feats: Sequence[Tensor]) -> dict[str, list[Tensor]]:
        """Return the predictions of ``YOLOv8Head`` and ``angle_logits``, a list of ``(B, 1, h_i, w_i)``."""
        preds = super().cell_preds(feats)
        preds['angle_logits'] = [branch(feat) for branch, feat in zip(self.angle_branches, feats, strict=True)]
        return preds

    def loss(self, preds: dict[str, Tensor | list[Tensor]], gt: GtBatch) -> dict[str, Tensor]:
        """Return the losses of ``YOLOv8Head`` for ``gt.rbboxes``, and ``loss_angle``."""
        return super().loss(preds, with_rbboxes(gt, self))

    def _decode(self, flat: dict[str, Tensor], priors: PointPriors) -> Tensor:
        """Predicted boxes ``(B, P, 5)`` in pixels of the network's input; neither side need be the longer one."""
        distances = self.bbox_coder.mean_distances(flat['bbox_preds'])
        angles = self.bbox_coder.angles(flat['angle_logits']).squeeze(-1)
        return self.bbox_coder.decode(priors.points, distances, priors.strides, angles)

    def _box_losses(self, flat: dict[str, Tensor], priors: PointPriors, slots: Slots, gt: GtBatch) -> dict[str, Tensor]:
        """Return ``loss_box``, ``loss_dfl`` and ``loss_angle``."""
        strides = priors.strides[slots.prior_idx].unsqueeze(-1)  # (B, S, 1)
        points = priors.points[slots.prior_idx] / strides
        targets = self._slot_rbboxes(gt, slots).to(points.dtype)
        targets = torch.cat([targets[..., :4] / strides, targets[..., 4:]], -1)
        bbox_preds, angle_logits = slots.gather(flat['bbox_preds']), slots.gather(flat['angle_logits'])
        angles = self.bbox_coder.angles(angle_logits).squeeze(-1)
        rbboxes = self.bbox_coder.decode(points, self.bbox_coder.mean_distances(bbox_preds), angles=angles)
        return dict(
            loss_box=self.loss_bbox(rbboxes, targets, slots.scores, slots.avg_factor),
            loss_dfl=self._dfl(bbox_preds, points, targets, slots, priors),
            loss_angle=self.loss_angle(angles, targets, slots.scores, slots.avg_factor),
        )

    @staticmethod
    def _slot_rbboxes(gt: GtBatch, slots: Slots) -> Tensor:
        """Return the ground-truth boxes ``(B, S, 5)`` of slots; empty ones get unit boxes to keep quotients finite."""
        rbboxes = gt.rbboxes.gather(1, slots.gt_idx.unsqueeze(-1).expand(-1, -1, 5))
        unit = torch.zeros_like(rbboxes)
        unit[..., 2:4] = 1
        return torch.where(slots.valid.unsqueeze(-1), rbboxes, unit)

    def _suppress(self, bboxes: Tensor, scores: Tensor) -> list[Detections]:
        return batched_rotated_nms(bboxes, scores, **self._options(ROTATED_NMS_KEYS))

    def _instances(self, decoded: Mapping[str, Any], image: int, kept: Detections, meta: dict) -> InstanceData:
        """Return ``rbboxes (N, 5)``, which may exceed the image, and ``bboxes``, their upright hulls clipped to it."""
        rbboxes, bboxes = rbboxes_to_original(kept.bboxes, meta['matrix'], meta['ori_shape'])
        return InstanceData(
            rbboxes=rbboxes.cpu(), bboxes=bboxes.cpu(), scores=kept.scores.cpu(), labels=kept.labels.cpu()
        )
