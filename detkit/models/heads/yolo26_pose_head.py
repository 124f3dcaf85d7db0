"""``YOLO26PoseHead``: predicts the keypoints of each detection and how uncertain they are, and no duplicates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from detkit.protocols import KeypointLikelihoodLoss, KeypointPointAssigner
from detkit.registry import HEADS, LOSSES
from detkit.structures.targets import Candidates, KeypointTargets

from ..layers import ConvModule
from ..priors import PointPriors
from .dual_head import DualHead
from .yolo26_head import DirectHead
from .yolov8_head import Slots
from .yolov8_pose_head import YOLOv8PoseHead


class DirectPoseHead(YOLOv8PoseHead, DirectHead):
    """``YOLOv8PoseHead`` on ``DirectHead``, which also learns the deviations of its keypoints.

    ::

        feature ── 3x3 ── 3x3 ─┬─ 1x1 ── keypoints (K * D)
                               └─ 1x1 ── logits of their deviations in x and y (2 K)

    A prediction p means the position (p + cell) · stride, where cell is the centre of the cell in cells.

    Args:
        loss_rle: config of the loss of positions and deviations.
        num_classes, in_channels, strides, **kwargs: see ``YOLOv8PoseHead`` and ``DirectHead``.
    """

    takes = {
        **YOLOv8PoseHead.takes,
        **DirectHead.takes,
        'assigner': KeypointPointAssigner,
        'loss_rle': KeypointLikelihoodLoss,
    }
    default_parts = {
        **YOLOv8PoseHead.default_parts,
        **DirectHead.default_parts,
        'assigner': dict(type='KeypointTaskAlignedAssigner'),
        'loss_rle': dict(type='RLELoss', loss_weight=1.0),
    }

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        loss_rle: dict | None = None,
        **kwargs,
    ) -> None:
        super().__init__(num_classes, in_channels, strides, **kwargs)
        num_keypoints = self.keypoint_shape[0]
        loss_rle = {'num_keypoints': num_keypoints, **(loss_rle or self.default_parts['loss_rle'])}
        self.loss_rle = self.build_part(LOSSES, 'loss_rle', loss_rle, num_keypoints)

    def _build_keypoint_branches(self) -> None:
        num_keypoints, num_values = self.keypoint_shape
        hidden = max(self.in_channels[0] // 4, num_keypoints * (num_values + 2))
        self.keypoint_branches = nn.ModuleList(
            nn.Sequential(ConvModule(channels, hidden, 3), ConvModule(hidden, hidden, 3))
            for channels in self.in_channels
        )
        self.position_branches, self.deviation_branches = (
            nn.ModuleList(nn.Conv2d(hidden, num_keypoints * values, 1) for _ in self.in_channels)
            for values in (num_values, 2)
        )

    def keypoint_preds(self, feats: Sequence[Tensor]) -> dict[str, list[Tensor]]:
        """Return ``keypoint_preds`` and ``keypoint_deviations``, lists of ``(B, K * D, h_i, w_i)`` and ``(B, 2 K, …)``.

        A graph that is exported has no deviations, as results do not depend on them.
        """
        feats = [branch(feat) for branch, feat in zip(self.keypoint_branches, feats, strict=True)]
        return dict(
            keypoint_preds=[conv(feat) for conv, feat in zip(self.position_branches, feats, strict=True)],
            keypoint_deviations=[conv(feat) for conv, feat in zip(self.deviation_branches, feats, strict=True)],
        )

    def _keypoint_losses(
        self,
        flat: dict[str, Tensor],
        slots: Slots,
        keypoints: Tensor,
        logits: Tensor | None,
        targets: KeypointTargets,
    ) -> dict[str, Tensor]:
        """Return the losses of ``YOLOv8PoseHead`` and ``loss_rle``."""
        losses = super()._keypoint_losses(flat, slots, keypoints, logits, targets)
        deviations = slots.gather(flat['keypoint_deviations']).unflatten(-1, (-1, 2))  # (B, S, K, 2)
        losses['loss_rle'] = self.loss_rle(torch.cat([keypoints, deviations], -1), targets, slots.valid)
        return losses

    def _candidates(self, flat: dict[str, Tensor], priors: PointPriors) -> Candidates:
        keypoints = self._decode_extras(flat, priors)['keypoints'][..., :2]
        return super()._candidates(flat, priors)._replace(keypoints=keypoints)

    def _decode_keypoints(self, preds: Tensor, points: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what ``YOLOv8PoseHead`` does, with the same arguments."""
        preds = preds.unflatten(-1, self.keypoint_shape)
        return preds[..., :2] + points.unsqueeze(-2), preds[..., 2] if self.keypoint_shape[1] == 3 else None


@HEADS.register_module()
class YOLO26PoseHead(DualHead, DirectPoseHead):
    """``YOLO26Head`` with keypoints (https://arxiv.org/abs/2606.03748); both assignments share ``loss_rle``.

    The arguments are those of ``DualHead`` and ``DirectPoseHead``.
    """

    single = DirectPoseHead
    shared_parts = ('loss_rle',)
    takes = {**DirectPoseHead.takes, 'one_assigner': KeypointPointAssigner}
    default_parts = {
        **DirectPoseHead.default_parts,
        'one_assigner': dict(type='KeypointTaskAlignedAssigner', topk=7, keep=1),
    }
