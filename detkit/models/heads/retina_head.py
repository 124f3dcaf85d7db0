"""``RetinaHead``: classifies and refines the anchors of a pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import torch
from torch import Tensor, nn

from detkit.registry import HEADS
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import Candidates, SparseTargets
from detkit.utils.ranks import shared_divisor

from ..assigners.max_iou_assigner import IGNORED
from ..layers.sparse_grad_conv import SparseGradConv2d
from ..layers.towers import build_tower, init_convs
from ..layers.winograd_conv import WinogradConv2d
from .base_head import widened
from .fpn_anchor_head import FPNAnchorHead, filled, objects_of


@HEADS.register_module()
class RetinaHead(FPNAnchorHead):
    """Head of RetinaNet: four convolutions for classes and four for boxes (arXiv:1708.02002).

    Each image's losses are divided by the number of its anchors with an object, and averaged over the images.

    Args:
        num_classes, in_channels, strides, feat_channels, prior_generator, assigner: see ``FPNAnchorHead``.
        bbox_coder, loss_cls, loss_bbox, reg_decoded_bbox, test_cfg, init_cfg: see there, too.
        num_convs: convolutions before each predictor.
        norm: ``'gn'`` normalises their outputs in 32 groups of channels, which then have no bias; None does not.
        prior_prob: probability of each class that an untrained head predicts.
    """

    default_parts = {
        'assigner': dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, match_low_quality=True),
        'bbox_coder': dict(type='DeltaBBoxCoder'),
        'loss_cls': dict(type='BinaryFocalLoss', gamma=2.0, alpha=0.25),
        'loss_bbox': dict(type='L1Loss'),
    }

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        feat_channels: int = 256,
        num_convs: int = 4,
        norm: str | None = None,
        prior_prob: float = 0.01,
        prior_generator: dict | None = None,
        assigner: dict | None = None,
        bbox_coder: dict | None = None,
        loss_cls: dict | None = None,
        loss_bbox: dict | None = None,
        reg_decoded_bbox: bool = False,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(
            num_classes,
            in_channels,
            strides,
            feat_channels,
            prior_generator or dict(type='SizeRatioAnchorGenerator', scales=[4 * 2 ** (i / 3) for i in range(3)]),
            assigner,
            bbox_coder,
            loss_cls,
            loss_bbox,
            reg_decoded_bbox,
            test_cfg,
            init_cfg,
        )
        if not 0 < prior_prob < 1:
            raise ValueError(f'RetinaHead: prior_prob must be in (0, 1), found {prior_prob}')
        self.class_convs = build_tower(feat_channels, feat_channels, num_convs, norm)
        self.bbox_convs = build_tower(feat_channels, feat_channels, num_convs, norm, learns_few_cells=True)
        self.conv_cls = WinogradConv2d(feat_channels, self.num_shapes * num_classes)
        self.conv_bbox = SparseGradConv2d(feat_channels, self.num_shapes * 4, 3)
        init_convs((self.class_convs, self.bbox_convs, self.conv_cls, self.conv_bbox))
        nn.init.constant_(self.conv_cls.bias, log(prior_prob / (1 - prior_prob)))

    def forward(self, feats: Sequence[Tensor], padding_mask: Tensor | None = None) -> dict[str, list[Tensor]]:
        """Return raw predictions.

        Args:
            feats: a ``(B, in_channels[i], h_i, w_i)`` map for each level.
            padding_mask: unused, but part of every head's signature.

        Returns:
            ``cls_logits``, a list of ``(B, A * C, h_i, w_i)``, and ``bbox_preds``, a list of ``(B, A * 4, h_i, w_i)``.
        """
        inputs = self._inputs(feats)
        return dict(
            cls_logits=[self.conv_cls(self.class_convs(x)) for x in inputs],
            bbox_preds=[self.conv_bbox(self.bbox_convs(x)) for x in inputs],
        )

    def loss(self, preds: dict[str, list[Tensor]], gt: GtBatch) -> dict[str, Tensor]:
        """Return ``loss_cls`` and ``loss_box``, in float32 or finer."""
        with torch.autocast(preds['cls_logits'][0].device.type, enabled=False):
            rows = self._all_rows(preds)
            logits = widened(torch.cat(rows['cls_logits'], 1))  # (B, P, C)
            priors = self._level_priors(preds).bboxes
            gt_idx = self.assigner(Candidates(), priors, gt)  # (B, P)
            counts = (gt_idx >= 0).sum(1, keepdim=True).clamp(min=1)  # (B, 1)
            bboxes, labels = objects_of(gt, gt_idx, logits.dtype)
            weight = (gt_idx >= 0) / counts.to(logits.dtype)
            avg_factor = shared_divisor(gt.batch_size, logits)

            slots = filled(weight.flatten())
            weight, labels = weight.flatten()[slots], labels.flatten()[slots]
            targets = SparseTargets(slots * self.num_classes + labels, (weight > 0).to(logits.dtype))
            considered = (gt_idx != IGNORED) / counts.to(logits.dtype)
            loss_cls = self.loss_cls(logits, targets, considered.unsqueeze(-1), avg_factor)

            bbox_preds = widened(torch.cat(rows['bbox_preds'], 1)).flatten(0, 1)[slots]
            priors = priors[slots % len(priors)]
            loss_box = self._bbox_loss(bbox_preds, priors, bboxes.flatten(0, 1)[slots], weight, avg_factor)
            return dict(loss_cls=loss_cls, loss_box=loss_box)
