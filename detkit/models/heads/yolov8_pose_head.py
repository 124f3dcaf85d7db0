"""``YOLOv8PoseHead``: predicts the keypoints of each detection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from detkit.protocols import KeypointClassLoss, KeypointPositionLoss
from detkit.registry import HEADS, LOSSES
from detkit.structures.gt_batch import GtBatch
from detkit.structures.keypoints import check_shape
from detkit.structures.targets import AssignResult, KeypointTargets

from ..postprocess.nms import Detections
from ..postprocess.rescale import points_to_original
from ..priors import PointPriors
from .yolov8_head import Slots, YOLOv8Head, slot_bboxes


@HEADS.register_module()
class YOLOv8PoseHead(YOLOv8Head):
    """``YOLOv8Head`` with K keypoints per cell: x, y and, where D is 3, a logit of whether the keypoint is labelled.

    A prediction p means the position (2 p + cell - .5) · stride, where cell is the centre of the cell in cells.

    Args:
        keypoint_shape: (K, D) with D 2 or 3; wired from the data.
        loss_keypoint: config of the loss of positions.
        loss_visibility: config of the loss of logits; not used where D is 2.
        num_classes, in_channels, strides, **kwargs: see ``YOLOv8Head``.
    """

    provides = ('bbox', 'keypoints')
    takes = {**YOLOv8Head.takes, 'loss_keypoint': KeypointPositionLoss, 'loss_visibility': KeypointClassLoss}
    default_parts = {
        **YOLOv8Head.default_parts,
        'loss_keypoint': dict(type='KeypointLoss', loss_weight=12.0),
        'loss_visibility': dict(type='KeypointVisibilityLoss', loss_weight=1.0),
    }

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        keypoint_shape: Sequence[int] = (17, 3),
        loss_keypoint: dict | None = None,
        loss_visibility: dict | None = None,
        **kwargs,
    ) -> None:
        self.keypoint_shape = check_shape(keypoint_shape, f'{type(self).__name__}: keypoint_shape')
        super().__init__(num_classes, in_channels, strides, **kwargs)
        num_keypoints = self.keypoint_shape[0]
        loss_keypoint = {'num_keypoints': num_keypoints, **(loss_keypoint or self.default_parts['loss_keypoint'])}
        self.loss_keypoint = self.build_part(LOSSES, 'loss_keypoint', loss_keypoint, num_keypoints)
        self.loss_visibility = self.build_part(LOSSES, 'loss_visibility', loss_visibility, num_keypoints)

    def _build_branches(self) -> None:
        super()._build_branches()
        self._build_keypoint_branches()

    def _build_keypoint_branches(self) -> None:
        num_channels = self.keypoint_shape[0] * self.keypoint_shape[1]
        self.keypoint_branches = self._branches(max(self.in_channels[0] // 4, num_channels), num_channels)

    def cell_preds(self, feats: Sequence[Tensor]) -> dict[str, list[Tensor]]:
        """Return the predictions of ``YOLOv8Head`` and of ``keypoint_preds``."""
        return {**super().cell_preds(feats), **self.keypoint_preds(feats)}

    def keypoint_preds(self, feats: Sequence[Tensor]) -> dict[str, list[Tensor]]:
        """Return ``keypoint_preds``, a list of ``(B, K * D, h_i, w_i)``."""
        return dict(keypoint_preds=[branch(feat) for branch, feat in zip(self.keypoint_branches, feats, strict=True)])

    def loss(self, preds: dict[str, Tensor | list[Tensor]], gt: GtBatch) -> dict[str, Tensor]:
        """Return the losses of ``YOLOv8Head``, ``loss_pose`` and, where D is 3, ``loss_kobj``."""
        num_keypoints = self.keypoint_shape[0]
        if gt.keypoints is None:
            if gt.max_instances:
                raise ValueError(
                    f'{type(self).__name__} learns keypoints, but the batch has none. Use a dataset that reads them '
                    "(CocoDataset with keypoints=True, YoloTxtDataset with labels='pose'), or a detection head."
                )
            gt = replace(gt, keypoints=gt.bboxes.new_zeros(gt.batch_size, 0, num_keypoints, 3))
        if gt.keypoints.shape[2] != num_keypoints:
            raise ValueError(
                f'{type(self).__name__} has {num_keypoints} keypoints, but the data {gt.keypoints.shape[2]}; set '
                'keypoint_shape of the head to that of the data'
            )
        return super().loss(preds, gt)

    def _losses(
        self, flat: dict[str, Tensor], priors: PointPriors, assigned: AssignResult, gt: GtBatch
    ) -> dict[str, Tensor]:
        losses = super()._losses(flat, priors, assigned, gt)
        first = [name for name in ('loss_box', 'loss_pose', 'loss_kobj') if name in losses]
        return {**{name: losses.pop(name) for name in first}, **losses}

    def _box_losses(self, flat: dict[str, Tensor], priors: PointPriors, slots: Slots, gt: GtBatch) -> dict[str, Tensor]:
        """Return ``loss_box``, ``loss_dfl`` and the losses of keypoints."""
        losses = super()._box_losses(flat, priors, slots, gt)
        preds = slots.gather(flat['keypoint_preds'])
        # All lengths are in units of the stride, in which the loss is defined; its value is the same in pixels.
        strides = priors.strides[slots.prior_idx].unsqueeze(-1)  # (B, S, 1)
        keypoints, logits = self._decode_keypoints(preds, priors.points[slots.prior_idx] / strides)
        index = slots.gt_idx[..., None, None].expand(-1, -1, *gt.keypoints.shape[2:])
        targets = gt.keypoints.gather(1, index).to(keypoints.dtype)  # (B, M, K, 3) -> (B, S, K, 3)
        visible = targets[..., 2] > 0
        bboxes = slot_bboxes(gt, slots.gt_idx).to(keypoints.dtype) / strides
        areas = (bboxes[..., 2:] - bboxes[..., :2]).prod(-1)
        targets = KeypointTargets(targets[..., :2] / strides.unsqueeze(-1), visible, areas)
        return {**losses, **self._keypoint_losses(flat, slots, keypoints, logits, targets)}

    def _keypoint_losses(
        self,
        flat: dict[str, Tensor],
        slots: Slots,
        keypoints: Tensor,
        logits: Tensor | None,
        targets: KeypointTargets,
    ) -> dict[str, Tensor]:
        """Return ``loss_pose`` and, where D is 3, ``loss_kobj``.

        Args:
            flat, slots: see ``_box_losses``.
            keypoints, logits: ``(B, S, K, 2)`` in strides and ``(B, S, K)``, see ``_decode_keypoints``.
            targets: those of the slots, in strides.
        """
        losses = dict(loss_pose=self.loss_keypoint(keypoints, targets, slots.valid))
        if logits is not None:
            losses['loss_kobj'] = self.loss_visibility(logits, targets.visible, slots.valid)
        return losses

    def _decode_keypoints(self, preds: Tensor, points: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return positions ``(..., K, 2)`` in strides, and logits ``(..., K)``, None where D is 2.

        Args:
            preds: ``(..., K * D)``.
            points: ``(..., 2)``, centres of the cells in strides.
        """
        preds = preds.unflatten(-1, self.keypoint_shape)
        keypoints = 2 * preds[..., :2] + (points - 0.5).unsqueeze(-2)
        return keypoints, preds[..., 2] if self.keypoint_shape[1] == 3 else None

    def _decode_extras(self, flat: dict[str, Tensor], priors: PointPriors) -> dict[str, Tensor]:
        """Return ``keypoints (B, P, K, 3)``: x and y in pixels of the network's input, and the score.

        A score is the probability that a keypoint is labelled, 1 where D is 2.
        """
        strides = priors.strides.unsqueeze(-1)  # (P, 1)
        keypoints, logits = self._decode_keypoints(flat['keypoint_preds'], priors.points / strides)
        scores = keypoints.new_ones(keypoints.shape[:-1]) if logits is None else logits.sigmoid()
        return dict(keypoints=torch.cat([keypoints * strides.unsqueeze(-1), scores.unsqueeze(-1)], -1))

    def _instances(self, decoded: Mapping[str, Any], image: int, kept: Detections, meta: dict) -> InstanceData:
        """Return the results of ``YOLOv8Head`` with ``keypoints (N, K, 2)`` in the image and ``keypoint_scores``."""
        instances = super()._instances(decoded, image, kept, meta)
        keypoints = decoded['keypoints'][image, kept.prior_idx]
        instances.keypoints = points_to_original(keypoints[..., :2], meta['matrix'], meta['ori_shape']).cpu()
        instances.keypoint_scores = keypoints[..., 2].cpu()
        return instances
