"""``FCOSHead``: predicts classes, distances to a box's sides and centreness at every cell of a pyramid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log

import torch
from torch import Tensor, nn

from detkit.protocols import BinaryClassLoss, DistanceCoder, LevelPointAssigner, OverlapLoss
from detkit.registry import ASSIGNERS, CODERS, HEADS, LOSSES, PRIOR_GENERATORS
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import Candidates, SparseTargets
from detkit.utils.ranks import shared_divisor

from ..layers.sparse_grad_conv import SparseGradConv2d
from ..layers.towers import build_tower, init_convs
from ..layers.winograd_conv import WinogradConv2d
from ..priors import PointPriors
from ..wiring import with_wired
from .base_head import widened
from .fpn_anchor_head import filled, objects_of
from .fpn_head import FPNHead


@HEADS.register_module()
class FCOSHead(FPNHead):
    """Head of FCOS: four convolutions for classes, four for boxes and centreness (arXiv:1904.01355).

    The centreness is that of the point within its box, predicted beside the box as in the authors' later version; a
    score is the root of class probability times centreness. All losses are divided by the number of points with an
    object in the batch.

    Args:
        num_classes, in_channels, strides, feat_channels, test_cfg, init_cfg: see ``FPNHead``.
        num_convs: convolutions before the predictors, each with normalisation in 32 groups of channels.
        prior_prob: probability of each class that an untrained head predicts.
        prior_generator: config of the points.
        assigner, bbox_coder, loss_cls, loss_bbox, loss_centerness: configs of the parts.
    """

    takes = {
        'assigner': LevelPointAssigner,
        'bbox_coder': DistanceCoder,
        'loss_cls': BinaryClassLoss,
        'loss_bbox': OverlapLoss,
        'loss_centerness': BinaryClassLoss,
    }
    default_parts = {
        'assigner': dict(type='FCOSAssigner'),
        'bbox_coder': dict(type='DistancePointBBoxCoder', reg_max=1),
        'loss_cls': dict(type='BinaryFocalLoss', gamma=2.0, alpha=0.25),
        'loss_bbox': dict(type='IoULoss', mode='giou'),
        'loss_centerness': dict(type='BinaryCrossEntropyLoss'),
    }
    loss_reduction = 'mean'

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        feat_channels: int = 256,
        num_convs: int = 4,
        prior_prob: float = 0.01,
        prior_generator: dict | None = None,
        assigner: dict | None = None,
        bbox_coder: dict | None = None,
        loss_cls: dict | None = None,
        loss_bbox: dict | None = None,
        loss_centerness: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(num_classes, in_channels, strides, feat_channels, test_cfg, init_cfg)
        if not 0 < prior_prob < 1:
            raise ValueError(f'FCOSHead: prior_prob must be in (0, 1), found {prior_prob}')
        self.prior_generator = PRIOR_GENERATORS.build(
            with_wired(
                prior_generator or dict(type='PointPriorGenerator', offset=None),
                'prior_generator',
                strides=self.strides,
            )
        )
        self.assigner = self.build_part(ASSIGNERS, 'assigner', assigner)
        self.bbox_coder = self.build_part(CODERS, 'bbox_coder', bbox_coder)
        self.num_bins = self.bbox_coder.reg_max
        self.loss_cls = self.build_part(LOSSES, 'loss_cls', loss_cls, num_classes)
        self.loss_bbox = self.build_part(LOSSES, 'loss_bbox', loss_bbox)
        self.loss_centerness = self.build_part(LOSSES, 'loss_centerness', loss_centerness, 1)
        self.class_convs = build_tower(feat_channels, feat_channels, num_convs, 'gn', conv_bias=True)
        self.bbox_convs = build_tower(feat_channels, feat_channels, num_convs, 'gn', conv_bias=True)
        self.conv_cls = WinogradConv2d(feat_channels, num_classes)
        self.conv_bbox = SparseGradConv2d(feat_channels, 4 * self.num_bins, 3)
        self.conv_centerness = SparseGradConv2d(feat_channels, 1, 3)
        init_convs((self.class_convs, self.bbox_convs, self.conv_cls, self.conv_bbox, self.conv_centerness))
        nn.init.constant_(self.conv_cls.bias, log(prior_prob / (1 - prior_prob)))

    @property
    def class_rows(self) -> Mapping[str, tuple[int, int, int]]:
        """The predictor's channels, see ``BaseHead``."""
        return {'conv_cls': (1, 0, 0)}

    def forward(self, feats: Sequence[Tensor], padding_mask: Tensor | None = None) -> dict[str, list[Tensor]]:
        """Return raw predictions.

        Args:
            feats: a ``(B, in_channels[i], h_i, w_i)`` map for each level.
            padding_mask: unused, but part of every head's signature.

        Returns:
            Lists with a map for each level: ``cls_logits (B, C, h_i, w_i)``, ``bbox_preds (B, 4, h_i, w_i)``, distances
            in strides, at least 0 (with a coder of n bins 4n logits of distributions), and
            ``centerness (B, 1, h_i, w_i)``, logits.
        """
        preds: dict[str, list[Tensor]] = dict(cls_logits=[], bbox_preds=[], centerness=[])
        for x in self._inputs(feats):
            preds['cls_logits'].append(self.conv_cls(self.class_convs(x)))
            x = self.bbox_convs(x)
            distances = self.conv_bbox(x)
            preds['bbox_preds'].append(distances.relu() if self.num_bins == 1 else distances)
            preds['centerness'].append(self.conv_centerness(x))
        return preds

    def _priors_of(self, priors: PointPriors, index: Tensor | slice) -> PointPriors:
        return PointPriors(priors.points[index], priors.strides[index])

    def _scores(self, rows: dict[str, Tensor]) -> Tensor:
        return (rows['cls_logits'].sigmoid() * rows['centerness'].sigmoid()).sqrt()

    def _bboxes(self, priors: PointPriors, rows: dict[str, Tensor]) -> Tensor:
        distances = self.bbox_coder.mean_distances(rows['bbox_preds'])
        return self.bbox_coder.decode(priors.points, distances, priors.strides)

    def loss(self, preds: dict[str, list[Tensor]], gt: GtBatch) -> dict[str, Tensor]:
        """Return ``loss_cls``, ``loss_box`` and ``loss_centerness``, in float32 or finer."""
        with torch.autocast(preds['cls_logits'][0].device.type, enabled=False):
            rows = {name: widened(torch.cat(levels, 1)) for name, levels in self._all_rows(preds).items()}
            logits = rows['cls_logits']  # (B, P, C)
            priors = self._level_priors(preds)
            gt_idx = self.assigner(Candidates(), priors, gt)  # (B, P)
            bboxes, labels = objects_of(gt, gt_idx, logits.dtype)
            weight = (gt_idx >= 0).to(logits.dtype).flatten()
            avg_factor = shared_divisor(weight.sum(), logits)
            slots = filled(weight)
            weight, labels = weight[slots], labels.flatten()[slots]
            targets = SparseTargets(slots * self.num_classes + labels, weight)
            loss_cls = self.loss_cls(logits, targets, avg_factor=avg_factor)

            priors = self._priors_of(priors, slots % len(priors.points))
            chosen = {name: values.flatten(0, 1)[slots] for name, values in rows.items()}
            decoded, bboxes = self._bboxes(priors, chosen), bboxes.flatten(0, 1)[slots]
            loss_box = self.loss_bbox(
                decoded, torch.where(weight.unsqueeze(1) > 0, bboxes, decoded), weight, avg_factor
            )
            centerness = torch.where(weight > 0, _centerness(priors.points, bboxes), torch.zeros_like(weight))
            positions = SparseTargets(torch.arange(len(slots), device=slots.device), centerness)
            loss_centerness = self.loss_centerness(chosen['centerness'], positions, weight.unsqueeze(1), avg_factor)
            return dict(loss_cls=loss_cls, loss_box=loss_box, loss_centerness=loss_centerness)


def _centerness(points: Tensor, bboxes: Tensor) -> Tensor:
    """Return ``(S,)``, 1 in the middle of a box and 0 at its sides (arXiv:1904.01355, equation 3)."""
    low, high = points - bboxes[:, :2], bboxes[:, 2:] - points  # (S, 2) each
    return (torch.minimum(low, high) / torch.maximum(low, high)).prod(1).clamp(min=0).sqrt()
