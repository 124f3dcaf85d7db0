"""``KeypointRoIHead``: predicts a heat map of each keypoint in regions."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.protocols import ClassLoss
from detkit.registry import LOSSES, ROI_HEADS
from detkit.structures.gt_batch import GtBatch
from detkit.structures.keypoints import check_shape
from detkit.utils.ranks import shared_divisor

from ..heads.base_head import widened
from ..layers.towers import build_tower
from .base_roi_head import BaseRoIHead, RoISamples, init_relu_convs, join


@ROI_HEADS.register_module()
class KeypointRoIHead(BaseRoIHead):
    """Head of keypoints: convolutions and a transposed convolution (Mask R-CNN, arXiv:1703.06870, section 5).

    A keypoint is the cell of a region's heat map with the greatest of its logits, which are four times as many along
    each side as the extractor's cells. It learns from the regions with an object, of the keypoints that are labelled
    and inside them.

    Args:
        num_classes, in_channels, strides, init_cfg: see ``BaseRoIHead``.
        keypoint_shape: (K, D), of which K counts; wired from the data.
        roi_extractor: config of what cuts regions out of maps.
        num_convs, conv_channels: 3x3 convolutions and their channels.
        loss_keypoint: config of the loss of the cells.
    """

    takes = {'loss_keypoint': ClassLoss}
    default_parts = {'loss_keypoint': dict(type='CrossEntropyLoss')}

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        keypoint_shape: Sequence[int] = (17, 3),
        roi_extractor: dict | None = None,
        num_convs: int = 8,
        conv_channels: int = 512,
        loss_keypoint: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        extractor = roi_extractor or dict(type='RoIAlignExtractor', out_size=14)
        super().__init__(num_classes, in_channels, strides, extractor, init_cfg)
        self.keypoint_shape = check_shape(keypoint_shape, f'{type(self).__name__}: keypoint_shape')
        self.loss_keypoint = self.build_part(LOSSES, 'loss_keypoint', loss_keypoint, 4)
        self.convs = build_tower(self.in_channels, conv_channels, num_convs)
        width = conv_channels if num_convs else self.in_channels
        self.upsample = nn.ConvTranspose2d(width, self.keypoint_shape[0], 4, 2, 1)
        init_relu_convs(self)

    def forward(self, feats: Sequence[Tensor], bboxes: Sequence[Tensor]) -> Tensor:
        """Return logits ``(R, K, s, s)``, in float32 or finer.

        Args:
            feats: a ``(B, in_channels, h_i, w_i)`` map for each level.
            bboxes: the regions ``(R_b, 4)`` of each image.
        """
        logits = widened(self.upsample(self.convs(self.features(feats, bboxes))))
        if not len(logits):  # which F.interpolate does not take
            return logits.repeat_interleave(2, -1).repeat_interleave(2, -2)
        return F.interpolate(logits, scale_factor=2, mode='bilinear', align_corners=False)

    def loss(self, feats: Sequence[Tensor], samples: Sequence[RoISamples], gt: GtBatch) -> dict[str, Tensor]:
        """Return ``loss_pose``, the mean cross entropy of the labelled keypoints' cells.

        Raises:
            ValueError: the batch has objects without keypoints, or with another number of them.
        """
        count = self.keypoint_shape[0]
        if gt.max_instances and (gt.keypoints is None or gt.keypoints.shape[2] != count):
            found = 'none' if gt.keypoints is None else gt.keypoints.shape[2]
            raise ValueError(
                f'{type(self).__name__} learns {count} keypoints, but the data has {found}; use a dataset that reads '
                'them, and set keypoint_shape of the head to that of the data'
            )
        samples = [own.with_objects() for own in samples]
        regions = [own.bboxes for own in samples]
        logits = self(feats, regions)  # (R, K, s, s)
        side = logits.shape[-1]
        if len(logits):
            keypoints = gt.keypoints.flatten(0, 1)[join(samples, gt.max_instances)].to(logits.dtype)
            cells, valid = _cells(keypoints, torch.cat(regions).to(logits.dtype), side)
        else:
            cells = torch.zeros(logits.shape[:2], dtype=torch.int64, device=logits.device)
            valid = cells > 0
        weight = valid.flatten().to(logits.dtype)
        avg_factor = shared_divisor(weight.sum(), weight)
        loss = self.loss_keypoint(logits.flatten(2).flatten(0, 1), cells.flatten(), weight, avg_factor)
        return dict(loss_pose=loss)

    def decode(self, feats: Sequence[Tensor], bboxes: Sequence[Tensor]) -> list[Tensor]:
        """Return ``(N, K, 3)`` for the N detections of each image: x, y in pixels of the network's input, and a score.

        A score is the sigmoid of the greatest logit.
        """
        logits = self(feats, bboxes).split([len(own) for own in bboxes])
        return [_keypoints(own_logits, own) for own_logits, own in zip(logits, bboxes, strict=True)]


def _cells(keypoints: Tensor, regions: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Return the cell ``(R, K)`` of each keypoint ``(R, K, 3)`` in its region's map, and whether it can be learnt."""
    regions = regions.unsqueeze(1)  # (R, 1, 4)
    positions = (keypoints[..., :2] - regions[..., :2]) * (side / (regions[..., 2:] - regions[..., :2]))
    cells = positions.floor().long()
    cells = torch.where(keypoints[..., :2] == regions[..., 2:], side - 1, cells)  # on the border counts as inside
    valid = ((cells >= 0) & (cells < side)).all(-1) & (keypoints[..., 2] > 0)
    return torch.where(valid, cells[..., 1] * side + cells[..., 0], 0), valid


def _keypoints(logits: Tensor, bboxes: Tensor) -> Tensor:
    """Return ``(N, K, 3)``: the greatest logits of maps ``(N, K, s, s)`` resized to their boxes ``(N, 4)``."""
    results = []
    for own, bbox in zip(logits, bboxes, strict=True):
        sides = (bbox[2:] - bbox[:2]).clamp(min=1)
        width, height = (ceil(value) for value in sides.tolist())
        resized = F.interpolate(own[:, None], size=(height, width), mode='bicubic', align_corners=False)[:, 0]
        best, index = resized.flatten(1).max(1)
        cells = torch.stack([index % width, index.div(width, rounding_mode='floor')], 1).to(own.dtype)
        positions = (cells + 0.5) * (sides / sides.new_tensor([width, height])) + bbox[:2]
        results.append(torch.cat([positions, best.sigmoid().unsqueeze(1)], 1))
    return torch.stack(results) if results else logits.new_zeros(0, logits.shape[1], 3)
