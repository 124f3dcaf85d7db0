"""``YOLOXHead``: predicts boxes, objectness and classes at every cell in decoupled branches, without anchors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log

import torch
from torch import Tensor, nn

from detkit.protocols import AnchorCoder, BinaryClassLoss, BoxLoss, CoordinateLoss, PointAssigner
from detkit.registry import ASSIGNERS, CODERS, HEADS, LOSSES
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import Candidates, SparseTargets
from detkit.utils.ranks import shared_divisor

from ..layers import Activation, ConvModule, SeparableConv
from ..priors import PointPriorGenerator, PointPriors
from .dense_head import DenseHead
from .fpn_anchor_head import filled


@HEADS.register_module()
class YOLOXHead(DenseHead):
    """Decoupled head of YOLOX (arXiv:2107.08430, section 2.1).

    ::

        feature ── 1x1 ─┬─ 3x3 ── 3x3 ─── 1x1 ── class logits (C)
                        └─ 3x3 ── 3x3 ─┬─ 1x1 ── x, y, w, h (4)
                                       └─ 1x1 ── logit of objectness (1)

    A cell is its own anchor: its box is (x, y) cells from its corner and has the sides exp(w), exp(h) in cells. The
    score of a class is its probability times the objectness. All losses are divided by the number of positives.

    Args:
        num_classes: C.
        in_channels, strides: those of the feature maps, fine to coarse; wired from the component before.
        feat_channels: channels of the branches; those of the finest map when left out.
        depthwise: whether each 3x3 convolution is a depthwise one and a 1x1, as in YOLOX-nano.
        act: activation of every convolution, see ``ConvModule``.
        prior_prob: probability of an object, and of each class, that an untrained head predicts.
        assigner, bbox_coder, loss_bbox, loss_obj, loss_cls, loss_l1: configs of the parts; ``default_parts`` when left
            out. ``loss_l1``, of raw boxes, is not computed while its weight is 0; ``LossWeightHook`` changes that in
            the last epochs.
        test_cfg: arguments of ``batched_nms``, which tools may change between calls; the others have their defaults.
        init_cfg: mmengine's initialisation config.

    Raises:
        ValueError: ``prior_prob`` is not in (0, 1).
    """

    takes = {
        'assigner': PointAssigner,
        'bbox_coder': AnchorCoder,
        'loss_bbox': BoxLoss,
        'loss_obj': BinaryClassLoss,
        'loss_cls': BinaryClassLoss,
        'loss_l1': CoordinateLoss,
    }
    default_parts = {
        'assigner': dict(type='SimOTAAssigner'),
        'bbox_coder': dict(type='YOLOXBBoxCoder'),
        'loss_bbox': dict(type='IoULoss', mode='iou', power=2.0, eps=1e-12, loss_weight=5.0),
        'loss_obj': dict(type='BinaryCrossEntropyLoss'),
        'loss_cls': dict(type='BinaryCrossEntropyLoss'),
        'loss_l1': dict(type='L1Loss', loss_weight=0.0),
    }
    loss_reduction = 'mean'

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        feat_channels: int | None = None,
        depthwise: bool = False,
        act: Activation = 'SiLU',
        prior_prob: float = 0.01,
        assigner: dict | None = None,
        bbox_coder: dict | None = None,
        loss_bbox: dict | None = None,
        loss_obj: dict | None = None,
        loss_cls: dict | None = None,
        loss_l1: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(num_classes, in_channels, strides, test_cfg, init_cfg)
        if not 0 < prior_prob < 1:
            raise ValueError(f'YOLOXHead: prior_prob must be in (0, 1), found {prior_prob}')
        self.prior_generator = PointPriorGenerator(self.strides)
        self.assigner = self.build_part(ASSIGNERS, 'assigner', assigner)
        self.bbox_coder = self.build_part(CODERS, 'bbox_coder', bbox_coder)
        self.loss_bbox = self.build_part(LOSSES, 'loss_bbox', loss_bbox)
        self.loss_obj = self.build_part(LOSSES, 'loss_obj', loss_obj, 1)
        self.loss_cls = self.build_part(LOSSES, 'loss_cls', loss_cls, num_classes)
        self.loss_l1 = self.build_part(LOSSES, 'loss_l1', loss_l1)

        width = self.in_channels[0] if feat_channels is None else feat_channels
        conv = SeparableConv if depthwise else ConvModule

        def tower() -> nn.Sequential:
            return nn.Sequential(*(conv(width, width, 3, act=act) for _ in range(2)))

        self.stems = nn.ModuleList(ConvModule(channels, width, 1, act=act) for channels in self.in_channels)
        self.cls_towers = nn.ModuleList(tower() for _ in self.in_channels)
        self.bbox_towers = nn.ModuleList(tower() for _ in self.in_channels)
        self.cls_convs = nn.ModuleList(nn.Conv2d(width, num_classes, 1) for _ in self.in_channels)
        self.bbox_convs = nn.ModuleList(nn.Conv2d(width, 4, 1) for _ in self.in_channels)
        self.obj_convs = nn.ModuleList(nn.Conv2d(width, 1, 1) for _ in self.in_channels)
        for layer in (*self.cls_convs, *self.obj_convs):
            nn.init.constant_(layer.bias, log(prior_prob / (1 - prior_prob)))

    def forward(self, feats: Sequence[Tensor], padding_mask: Tensor | None = None) -> dict[str, list[Tensor]]:
        """Return raw predictions.

        Args:
            feats: a ``(B, in_channels[i], h_i, w_i)`` map for each level.
            padding_mask: unused, but part of every head's signature.

        Returns:
            Lists with a map for each level: ``cls_logits (B, C, h_i, w_i)``, ``bbox_preds (B, 4, h_i, w_i)`` and
            ``obj_logits (B, 1, h_i, w_i)``.
        """
        preds: dict[str, list[Tensor]] = dict(cls_logits=[], bbox_preds=[], obj_logits=[])
        for level, (stem, feat) in enumerate(zip(self.stems, feats, strict=True)):
            x = stem(feat)
            preds['cls_logits'].append(self.cls_convs[level](self.cls_towers[level](x)))
            x = self.bbox_towers[level](x)
            preds['bbox_preds'].append(self.bbox_convs[level](x))
            preds['obj_logits'].append(self.obj_convs[level](x))
        return preds

    def loss(self, preds: dict[str, list[Tensor]], gt: GtBatch) -> dict[str, Tensor]:
        """Return ``loss_box``, ``loss_obj``, ``loss_cls`` and ``loss_l1``, in float32 or finer."""
        with torch.autocast(preds['cls_logits'][0].device.type, enabled=False):
            flat = self._flatten(preds)
            priors = self._priors(preds)
            logits, obj_logits = flat['cls_logits'], flat['obj_logits'].squeeze(-1)  # (B, P, C), (B, P)
            with torch.no_grad():
                bboxes = self._decode(flat['bbox_preds'], priors)
            assigned = self.assigner(Candidates(logits.detach(), bboxes, obj_logits=obj_logits.detach()), priors, gt)

            valid = assigned.valid.flatten().to(logits.dtype)  # (B, M, K) -> (B * M * K,)
            slots = filled(valid)
            valid = valid[slots]  # (S,)
            image = torch.arange(gt.batch_size, device=slots.device).view(-1, 1, 1)
            prior_idx = assigned.prior_idx.flatten()[slots]
            flat_prior_idx = (image * len(priors.points) + assigned.prior_idx).flatten()[slots]
            flat_gt_idx = (image * gt.max_instances + assigned.gt_idx).flatten()[slots]
            avg_factor = shared_divisor(valid.sum(), logits)
            loss_obj = self.loss_obj(obj_logits, SparseTargets(flat_prior_idx, valid), avg_factor=avg_factor)

            labels = gt.labels.flatten()[flat_gt_idx].clamp(min=0)
            positions = torch.arange(len(slots), device=slots.device) * self.num_classes + labels
            targets = SparseTargets(positions, assigned.scores.flatten()[slots].to(logits.dtype))
            chosen = logits.flatten(0, 1).index_select(0, flat_prior_idx)  # (S, C)
            loss_cls = self.loss_cls(chosen, targets, valid.unsqueeze(1), avg_factor)

            own = PointPriors(priors.points[prior_idx], priors.strides[prior_idx])
            raw = flat['bbox_preds'].flatten(0, 1).index_select(0, flat_prior_idx)  # (S, 4)
            decoded = self._decode(raw, own)
            bboxes = gt.bboxes.flatten(0, 1)[flat_gt_idx].to(raw.dtype)
            bboxes = torch.where(valid.unsqueeze(1) > 0, bboxes, decoded.detach())
            loss_box = self.loss_bbox(decoded, bboxes, valid, avg_factor)
            return dict(
                loss_box=loss_box,
                loss_obj=loss_obj,
                loss_cls=loss_cls,
                loss_l1=self._raw_loss(raw, bboxes, own, valid, avg_factor),
            )

    def _raw_loss(
        self, raw: Tensor, bboxes: Tensor, priors: PointPriors, valid: Tensor, avg_factor: Tensor | float
    ) -> Tensor:
        """Return the loss of raw boxes ``(S, 4)`` against what the coder makes of boxes ``(S, 4)``."""
        if not self.loss_l1.loss_weight:
            return raw.new_zeros(())
        targets = self.bbox_coder.encode(priors.points, _cells(priors), bboxes, priors.strides)
        return self.loss_l1(raw, targets, valid, avg_factor)

    def decode(self, preds: dict[str, list[Tensor]], img_shapes: Tensor | None = None) -> dict[str, Tensor]:
        """Return ``bboxes (B, P, 4)``, xyxy in pixels of the network's input, and ``scores (B, P, C)``."""
        flat = self._flatten(preds)
        scores = flat['cls_logits'].sigmoid() * flat['obj_logits'].sigmoid()
        return dict(bboxes=self._decode(flat['bbox_preds'], self._priors(preds)), scores=scores)

    def _decode(self, raw: Tensor, priors: PointPriors) -> Tensor:
        """Return the boxes ``(..., 4)`` that raw predictions ``(..., 4)`` at the priors mean."""
        return self.bbox_coder.decode(priors.points, _cells(priors), raw, priors.strides)

    def _priors(self, preds: Mapping[str, list[Tensor]]) -> PointPriors:
        levels = preds['cls_logits']
        dtype = torch.promote_types(levels[0].dtype, torch.float32)
        return self.prior_generator([level.shape[-2:] for level in levels], levels[0].device, dtype)


def _cells(priors: PointPriors) -> Tensor:
    """Return the width and height ``(P, 2)`` of the cells, which are the anchors."""
    return priors.strides.unsqueeze(-1).expand(-1, 2)
