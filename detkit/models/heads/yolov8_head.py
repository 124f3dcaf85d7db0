"""``YOLOv8Head``: predicts boxes and classes at every cell of the feature maps, without anchors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import log
from typing import NamedTuple

import torch
from torch import Tensor, nn

from detkit.config.signatures import arguments_of
from detkit.protocols import BinaryClassLoss, BoxLoss, DistanceCoder, DistributionLoss, PointAssigner
from detkit.registry import ASSIGNERS, CODERS, HEADS, LOSSES
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import AssignResult, Candidates, SparseTargets
from detkit.utils.errors import ConfigError
from detkit.utils.ranks import shared_divisor

from ..layers import ConvModule, SeparableConv
from ..priors import PointPriorGenerator, PointPriors
from .dense_head import DenseHead

# Objects expected in an image of this size before anything is learnt, for the initial class bias.
_EXPECTED_OBJECTS = 5
_EXPECTED_SIZE = 640


class Slots(NamedTuple):
    """The S = M * K slots of an assignment, image by image.

    Attributes:
        flat_prior_idx: ``(B, S)`` int64, index of each slot's prior in the flattened ``(B, P)``.
        prior_idx, gt_idx: ``(B, S)`` int64, indices of its prior and its box within the image.
        valid: ``(B, S)`` bool, False where the slot is empty.
        scores: ``(B, S)``, its soft class target, 0 where empty.
        avg_factor: scalar, the sum of the scores, see ``shared_divisor``.
    """

    flat_prior_idx: Tensor
    prior_idx: Tensor
    gt_idx: Tensor
    valid: Tensor
    scores: Tensor
    avg_factor: Tensor

    def gather(self, flat: Tensor) -> Tensor:
        """Return the predictions at the slots: ``(B, P, channels)`` -> ``(B, S, channels)``."""
        return flat.flatten(0, 1).index_select(0, self.flat_prior_idx.flatten()).unflatten(0, self.flat_prior_idx.shape)


def _plain(in_channels: int, out_channels: int) -> nn.Module:
    return ConvModule(in_channels, out_channels, 3)


@HEADS.register_module()
class YOLOv8Head(DenseHead):
    """Decoupled head: each level has one branch for classes and one for the distances to a box's sides.

    ::

        feature ─┬─ 3x3 ── 3x3 ── 1x1 ── class logits (C)
                 └─ 3x3 ── 3x3 ── 1x1 ── distributions of left, top, right, bottom (4 * reg_max)

    Args:
        num_classes: C.
        in_channels, strides: those of the feature maps, fine to coarse; wired from the component before.
        reg_max: number of bins of a distance's distribution, at least 2.
        depthwise_cls: whether each 3x3 convolution of the class branch is a depthwise one and a 1x1, as in YOLO11.
        bbox_bias: initial bias of the distributions' logits.
        assigner, bbox_coder, loss_cls, loss_bbox, loss_dfl: configs of the parts; ``default_parts`` when left out.
        test_cfg: arguments of ``batched_nms``, which tools may change between calls; the others have their defaults.
        init_cfg: mmengine's initialisation config.
    """

    takes = {
        'assigner': PointAssigner,
        'bbox_coder': DistanceCoder,
        'loss_cls': BinaryClassLoss,
        'loss_bbox': BoxLoss,
        'loss_dfl': DistributionLoss,
    }
    default_parts = {
        'assigner': dict(type='TaskAlignedAssigner'),
        'bbox_coder': dict(type='DistancePointBBoxCoder'),
        'loss_cls': dict(type='BinaryCrossEntropyLoss', loss_weight=0.5),
        'loss_bbox': dict(type='IoULoss', mode='ciou', loss_weight=7.5),
        'loss_dfl': dict(type='DistributionFocalLoss', loss_weight=1.5),
    }

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        reg_max: int = 16,
        depthwise_cls: bool = False,
        bbox_bias: float = 1.0,
        assigner: dict | None = None,
        bbox_coder: dict | None = None,
        loss_cls: dict | None = None,
        loss_bbox: dict | None = None,
        loss_dfl: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(num_classes, in_channels, strides, test_cfg, init_cfg)
        self.check_reg_max(reg_max)
        self.reg_max = reg_max
        self.depthwise_cls = depthwise_cls
        self.bbox_bias = bbox_bias
        self.prior_generator = PointPriorGenerator(self.strides)
        self.assigner = self.build_part(ASSIGNERS, 'assigner', assigner)
        bbox_coder = bbox_coder or self.default_parts['bbox_coder']
        if isinstance(bbox_coder, Mapping) and 'reg_max' in arguments_of(CODERS.get(bbox_coder['type'])).names:
            bbox_coder = {'reg_max': reg_max, **bbox_coder}
        self.bbox_coder = self.build_part(CODERS, 'bbox_coder', bbox_coder)
        if self.bbox_coder.reg_max != reg_max:
            raise ConfigError(
                f"bbox_coder.reg_max is {self.bbox_coder.reg_max}, but must be the head's reg_max, {reg_max}"
            )
        self.loss_cls = self.build_part(LOSSES, 'loss_cls', loss_cls, num_classes)
        self.loss_bbox = self.build_part(LOSSES, 'loss_bbox', loss_bbox)
        self.loss_dfl = self.build_part(LOSSES, 'loss_dfl', loss_dfl, reg_max)
        self._build_branches()
        self._init_biases()

    def check_reg_max(self, reg_max: int) -> None:
        """Raise ``ConfigError`` for a number of bins that distances cannot have."""
        if reg_max < 2:
            raise ConfigError(
                f'{type(self).__name__}: reg_max is {reg_max}, but a distribution has at least 2 bins. YOLO26Head '
                'predicts distances without distributions'
            )

    def _build_branches(self) -> None:
        finest = self.in_channels[0]
        self.bbox_branches = self._branches(max(16, finest // 4, 4 * self.reg_max), 4 * self.reg_max)
        hidden = max(finest, min(self.num_classes, 100))
        self.cls_branches = self._branches(hidden, self.num_classes, SeparableConv if self.depthwise_cls else _plain)

    def _branches(
        self, hidden: int, out_channels: int, conv: Callable[[int, int], nn.Module] = _plain
    ) -> nn.ModuleList:
        """Return for each level two 3x3 convolutions, or what ``conv`` makes, and a 1x1 without normalisation."""
        return nn.ModuleList(
            nn.Sequential(conv(channels, hidden), conv(hidden, hidden), nn.Conv2d(hidden, out_channels, 1))
            for channels in self.in_channels
        )

    def _init_biases(self) -> None:
        """Set biases to the class frequencies of images with a few objects each, so that the first steps are small."""
        for stride, bbox_branch, cls_branch in zip(self.strides, self.bbox_branches, self.cls_branches, strict=True):
            cells = (_EXPECTED_SIZE / stride) ** 2
            nn.init.constant_(bbox_branch[-1].bias, self.bbox_bias)
            nn.init.constant_(cls_branch[-1].bias, log(_EXPECTED_OBJECTS / self.num_classes / cells))

    def forward(self, feats: Sequence[Tensor], padding_mask: Tensor | None = None) -> dict[str, Tensor | list[Tensor]]:
        """Return raw predictions: those of ``cell_preds`` and ``image_preds``.

        Args:
            feats: a ``(B, in_channels[i], h_i, w_i)`` map for each level.
            padding_mask: unused, but part of every head's signature.
        """
        return {**self.cell_preds(feats), **self.image_preds(feats)}

    def image_preds(self, feats: Sequence[Tensor], for_loss: bool = False) -> dict[str, Tensor]:
        """Return what is predicted once for an image, and where ``for_loss`` is set, also what only losses need."""
        return {}

    def cell_preds(self, feats: Sequence[Tensor]) -> dict[str, list[Tensor]]:
        """Return what is predicted at every cell.

        Returns:
            ``cls_logits``, a list of ``(B, C, h_i, w_i)``; ``bbox_preds``, a list of ``(B, 4 * reg_max, h_i, w_i)``.
        """
        return dict(
            cls_logits=[branch(feat) for branch, feat in zip(self.cls_branches, feats, strict=True)],
            bbox_preds=[branch(feat) for branch, feat in zip(self.bbox_branches, feats, strict=True)],
        )

    def loss(self, preds: dict[str, Tensor | list[Tensor]], gt: GtBatch) -> dict[str, Tensor]:
        """Return ``loss_box``, ``loss_cls`` and ``loss_dfl``, times weight and batch size, in float32 or finer."""
        with torch.autocast(preds['cls_logits'][0].device.type, enabled=False):
            flat = self._flatten(preds)
            priors = self._priors(preds)
            with torch.no_grad():
                candidates = self._candidates(flat, priors)
            assigned = self.assigner(candidates, priors, gt)
            losses = self._losses(flat, priors, assigned, gt)
            return {name: value * gt.batch_size for name, value in losses.items()}

    def _candidates(self, flat: dict[str, Tensor], priors: PointPriors) -> Candidates:
        """Return what the assigner uses, without gradients; arguments as ``_decode``."""
        return Candidates(flat['cls_logits'].detach(), self._decode(flat, priors))

    def _decode(self, flat: dict[str, Tensor], priors: PointPriors) -> Tensor:
        """Return predicted boxes ``(B, P, 4)``, xyxy in pixels of the network's input."""
        distances = self.bbox_coder.mean_distances(flat['bbox_preds'])
        return self.bbox_coder.decode(priors.points, distances, priors.strides)

    def _losses(
        self, flat: dict[str, Tensor], priors: PointPriors, assigned: AssignResult, gt: GtBatch
    ) -> dict[str, Tensor]:
        """Return the losses of a given assignment, before they are multiplied by the batch size.

        Args:
            flat: predictions with all levels concatenated, ``(B, P, channels)`` each.
        """
        prior_idx, gt_idx = assigned.prior_idx.flatten(1), assigned.gt_idx.flatten(1)  # (B, M, K) -> (B, S)
        scores = assigned.scores.flatten(1)
        avg_factor = shared_divisor(scores.sum(), scores)
        labels = gt.labels.gather(1, gt_idx).clamp(min=0)
        image_starts = torch.arange(len(prior_idx), device=prior_idx.device).unsqueeze(1) * len(priors.points)
        flat_prior_idx = image_starts + prior_idx  # (B, S), in the flattened (B, P)
        targets = SparseTargets((flat_prior_idx * self.num_classes + labels).flatten(), scores.flatten())
        loss_cls = self.loss_cls(flat['cls_logits'], targets, avg_factor=avg_factor)

        slots = Slots(flat_prior_idx, prior_idx, gt_idx, assigned.valid.flatten(1), scores, avg_factor)
        box_losses = self._box_losses(flat, priors, slots, gt)
        return dict(loss_box=box_losses.pop('loss_box'), loss_cls=loss_cls, **box_losses)

    def _box_losses(self, flat: dict[str, Tensor], priors: PointPriors, slots: Slots, gt: GtBatch) -> dict[str, Tensor]:
        """Return ``loss_box`` and ``loss_dfl``."""
        # Distances are regressed in units of the stride, so boxes are compared in them as well.
        strides = priors.strides[slots.prior_idx].unsqueeze(-1)  # (B, S, 1)
        points = priors.points[slots.prior_idx] / strides
        targets = slot_bboxes(gt, slots.gt_idx).to(points.dtype) / strides
        bbox_preds = slots.gather(flat['bbox_preds'])
        bboxes = self.bbox_coder.decode(points, self.bbox_coder.mean_distances(bbox_preds))
        loss_box = self.loss_bbox(bboxes, targets, slots.scores, slots.avg_factor)
        return dict(loss_box=loss_box, loss_dfl=self._dfl(bbox_preds, points, targets, slots, priors))

    def _dfl(self, bbox_preds: Tensor, points: Tensor, targets: Tensor, slots: Slots, priors: PointPriors) -> Tensor:
        """Return the loss of distributions ``(B, S, 4 * reg_max)`` against boxes ``(B, S, box)``, both in strides."""
        return self.loss_dfl(
            bbox_preds.unflatten(-1, (4, -1)).flatten(0, 1),
            self.bbox_coder.encode(points, targets).flatten(0, 1),
            slots.scores.flatten(),
            slots.avg_factor,
        )

    def decode(self, preds: dict[str, Tensor | list[Tensor]], img_shapes: Tensor | None = None) -> dict[str, Tensor]:
        """Return ``bboxes (B, P, 4)``, xyxy in pixels of the network's input, and ``scores (B, P, C)``."""
        flat, priors = self._flatten(preds), self._priors(preds)
        return {
            self.BBOXES: self._decode(flat, priors),
            'scores': flat['cls_logits'].sigmoid(),
            **self._decode_extras(flat, priors),
        }

    def _decode_extras(self, flat: dict[str, Tensor], priors: PointPriors) -> dict[str, Tensor]:
        """Return what a child decodes beside boxes and scores; arguments as ``_decode``."""
        return {}

    def _priors(self, preds: dict[str, Tensor | list[Tensor]]) -> PointPriors:
        levels = preds['cls_logits']
        dtype = torch.promote_types(levels[0].dtype, torch.float32)
        return self.prior_generator([level.shape[-2:] for level in levels], levels[0].device, dtype)


def slot_bboxes(gt: GtBatch, gt_idx: Tensor) -> Tensor:
    """Return the ground-truth boxes ``(B, S, 4)`` of slots ``(B, S)``."""
    return gt.bboxes.gather(1, gt_idx.unsqueeze(-1).expand(-1, -1, 4))
