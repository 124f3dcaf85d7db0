"""``AnchorHead``: the base of YOLO's heads of version 2 to 5."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, sqrt
from typing import NamedTuple

import torch
from torch import Tensor, nn

from detkit.protocols import AnchorAssigner, AnchorCoder, BinaryClassLoss, OverlapLoss
from detkit.registry import ASSIGNERS, CODERS, LOSSES
from detkit.structures.data_sample import DetDataSample
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import AssignResult, Candidates, SparseTargets
from detkit.utils.errors import ConfigError
from detkit.utils.ranks import shared_divisor

from ..priors import AnchorPriorGenerator, AnchorPriors
from .anchor_slots import AnchorSlots
from .base_head import widened
from .dense_head import DenseHead

# The channels of an anchor: x, y, w, h, then the objectness, then the classes.
_OBJ = 4
_CLASSES = 5

# Shapes of anchors by number of levels: those of YOLOv3-tiny and YOLOv3, fitted to COCO at 416 pixels
# (arXiv:1804.02767), and those of YOLOv5's models of four levels, fitted at 1280.
COCO_ANCHORS = {
    2: (((10, 14), (23, 27), (37, 58)), ((81, 82), (135, 169), (344, 319))),
    3: (((10, 13), (16, 30), (33, 23)), ((30, 61), (62, 45), (59, 119)), ((116, 90), (156, 198), (373, 326))),
    4: (
        ((19, 27), (44, 40), (38, 94)),
        ((96, 68), (86, 152), (180, 137)),
        ((140, 301), (303, 264), (238, 542)),
        ((436, 615), (739, 380), (925, 792)),
    ),
}
# Objects expected in an image of this size before anything is learnt, for the initial biases.
_EXPECTED_OBJECTS = 8
_EXPECTED_SIZE = 640


class AnchorHead(DenseHead):
    """Head whose 1x1 convolutions predict, for each of A anchors in a cell, a box, an objectness and C classes.

    ::

        feature ── 1x1 ── A · (x, y, w, h, objectness, classes)

    The objectness learns whether an anchor has a ground-truth box and how well it predicts that box: its target is the
    overlap of the two. Boxes and classes are learnt only at anchors with a ground-truth box. The injected parts and the
    attributes of a child define a version of YOLO.

    Args:
        num_classes: C; a single class is not learnt, as the objectness suffices.
        in_channels, strides: those of the feature maps, fine to coarse; wired from the component before.
        anchors: for each level, fine to coarse, (width, height) in pixels of A shapes; ``COCO_ANCHORS`` by default.
        assigner, bbox_coder, loss_bbox, loss_obj, loss_cls: configs of the parts; the child's ``default_parts`` when
            left out. The losses are means: ``loss_bbox`` over a level's positives, ``loss_obj`` over its anchors, its
            weight times (img_size / ``GAIN_SIZE``) ** ``GAIN_POWER``, and ``loss_cls`` over its positives and the
            classes, its weight times C / 80.
        obj_level_weights: factor of each level's objectness; the child's ``_default_level_weights`` when left out.
        obj_iou_ratio: the objectness' target is 1 - ratio + ratio · overlap.
        img_size: side in pixels of the images that the recipe assumes; None takes the square root of the area of the
            batch's images.
        nominal_batch_size: losses are multiplied by the batch size and divided by this number: with 1, gradients are
            sums over images; with n, gradients summed over n images are their mean.
        test_cfg: arguments of ``batched_nms``; a candidate's score is objectness times class score.
        init_cfg: mmengine's initialisation config.
    """

    takes = {
        'assigner': AnchorAssigner,
        'bbox_coder': AnchorCoder,
        'loss_bbox': OverlapLoss,
        'loss_obj': BinaryClassLoss,
        'loss_cls': BinaryClassLoss,
    }
    # The growth of the objectness' weight with the size of the image.
    GAIN_SIZE: int
    GAIN_POWER: int

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        assigner: dict | None = None,
        bbox_coder: dict | None = None,
        loss_bbox: dict | None = None,
        loss_obj: dict | None = None,
        loss_cls: dict | None = None,
        anchors: Sequence[Sequence[Sequence[float]]] | None = None,
        obj_level_weights: Sequence[float] | None = None,
        obj_iou_ratio: float = 1.0,
        img_size: int | None = None,
        nominal_batch_size: int = 1,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(num_classes, in_channels, strides, test_cfg, init_cfg)
        title, num_levels = type(self).__name__, len(self.strides)
        anchors = anchors or COCO_ANCHORS.get(num_levels)
        if not anchors:
            raise ConfigError(
                f'{title} has no default anchors for {num_levels} levels (strides {self.strides}): give '
                'anchors=[[(width, height), ...], ...] in pixels, one list a level, fine to coarse'
            )
        if obj_level_weights is not None and len(obj_level_weights) != num_levels:
            raise ConfigError(
                f'{title}: {len(obj_level_weights)} obj_level_weights for {num_levels} levels'
                '; write one weight for each level, fine to coarse, or leave them out'
            )
        if not 0 <= obj_iou_ratio <= 1:
            raise ConfigError(f'{title}: obj_iou_ratio must be in [0, 1], found {obj_iou_ratio}')
        for name, value in (('img_size', img_size), ('nominal_batch_size', nominal_batch_size)):
            if value is not None and value < 1:
                raise ConfigError(f'{title}: {name} must be at least 1, found {value}')
        self.prior_generator = AnchorPriorGenerator(anchors, self.strides)
        self.assigner = self.build_part(ASSIGNERS, 'assigner', assigner)
        self.bbox_coder = self.build_part(CODERS, 'bbox_coder', bbox_coder)
        self.loss_bbox = self.build_part(LOSSES, 'loss_bbox', loss_bbox)
        self.loss_obj = self.build_part(LOSSES, 'loss_obj', loss_obj)
        self.loss_cls = self.build_part(LOSSES, 'loss_cls', loss_cls, num_classes)
        self.obj_level_weights = tuple(obj_level_weights or self._default_level_weights(num_levels))
        self.obj_iou_ratio = obj_iou_ratio
        self.img_size = img_size
        self.nominal_batch_size = nominal_batch_size
        channels = self.num_shapes * (_CLASSES + num_classes)
        self.convs = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in self.in_channels)
        self._init_biases()

    @property
    def num_shapes(self) -> int:
        """Number A of anchors in a cell."""
        return self.prior_generator.num_shapes

    @property
    def class_rows(self) -> dict[str, tuple[int, int, int]]:
        """The predictors' channels, see ``BaseHead``."""
        return {f'convs.{level}': (self.num_shapes, _CLASSES, 0) for level in range(len(self.convs))}

    def _default_level_weights(self, num_levels: int) -> Sequence[float]:
        return (1.0,) * num_levels

    def _init_biases(self) -> None:
        """Set biases that predict a few objects per image and equal classes, so that the first steps are small."""
        for stride, conv in zip(self.strides, self.convs, strict=True):
            biases = conv.bias.data.view(self.num_shapes, -1)
            biases[:, _OBJ] += log(_EXPECTED_OBJECTS / (_EXPECTED_SIZE / stride) ** 2)
            biases[:, _CLASSES:] += log(0.6 / (self.num_classes - 0.99999))  # near 1 for a single class

    def forward(self, feats: Sequence[Tensor], padding_mask: Tensor | None = None) -> dict[str, list[Tensor]]:
        """Return raw predictions.

        Args:
            feats: a ``(B, in_channels[i], h_i, w_i)`` map for each level.
            padding_mask: unused, but part of every head's signature.

        Returns:
            ``anchor_preds``, a list of ``(B, A * (5 + C), h_i, w_i)`` with x, y, w, h, objectness and classes.
        """
        return dict(anchor_preds=[conv(feat) for conv, feat in zip(self.convs, feats, strict=True)])

    def loss(self, preds: dict[str, list[Tensor]], gt: GtBatch) -> dict[str, Tensor]:
        """Return ``loss_box``, ``loss_obj`` and ``loss_cls``, sums over the levels, in float32 or finer.

        Each is multiplied by its weight and the batch size, and divided by ``nominal_batch_size``.
        """
        levels = preds['anchor_preds']
        with torch.autocast(levels[0].device.type, enabled=False):
            losses = [
                self._level_losses(self._rows(level), priors, self.assigner(Candidates(), priors, gt), gt)
                for level, priors in zip(levels, self._priors(levels), strict=True)
            ]
            loss_box, loss_obj, loss_cls = zip(*losses, strict=True)
            loss_obj = [loss * weight for loss, weight in zip(loss_obj, self.obj_level_weights, strict=True)]
            height, width = levels[0].shape[-2:]
            gains = self._gains(self.img_size or sqrt(height * width) * self.strides[0])
            factor = gt.batch_size / self.nominal_batch_size
            return dict(
                loss_box=sum(loss_box) * (gains.box * factor),
                loss_obj=sum(loss_obj) * (gains.obj * factor),
                loss_cls=sum(loss_cls) * (gains.cls * factor),
            )

    def _gains(self, img_size: float) -> Gains:
        """Return the factors of the losses' weights."""
        return Gains(1.0, (img_size / self.GAIN_SIZE) ** self.GAIN_POWER, self.num_classes / 80)

    def _level_losses(
        self, rows: Tensor, priors: AnchorPriors, assigned: AssignResult, gt: GtBatch
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return one level's losses of boxes, objectness and classes, for predictions ``(B, P, 5 + C)``."""
        slots = AnchorSlots.of(assigned, rows.shape[1]).filled()
        chosen, obj_logits = slots.look_up(rows.flatten(0, 1), _OBJ)  # (S, 5 + C), (B * P,)
        weight = slots.valid.to(chosen.dtype)
        count = shared_divisor(weight.sum(), weight)

        # Boxes are compared in units of the stride.
        points = priors.points.index_select(0, slots.prior_idx) / priors.stride
        sizes_wh = priors.sizes_wh.index_select(0, slots.prior_idx) / priors.stride
        targets = gt.bboxes.flatten(0, 1).index_select(0, slots.flat_gt_idx).to(chosen.dtype) / priors.stride
        overlaps = self.loss_bbox.overlaps(self.bbox_coder.decode(points, sizes_wh, chosen[:, :_OBJ]), targets)
        loss_box = self.loss_bbox.from_overlaps(overlaps, weight, count)

        quality = 1 - self.obj_iou_ratio + self.obj_iou_ratio * overlaps.detach().clamp(min=0)
        quality = quality * slots.last_of_prior(obj_logits.numel())
        loss_obj = self.loss_obj(
            obj_logits, SparseTargets(slots.flat_prior_idx, quality), avg_factor=obj_logits.numel()
        )

        if self.num_classes == 1:
            return loss_box, loss_obj, torch.zeros_like(loss_obj)
        labels = gt.labels.flatten().index_select(0, slots.flat_gt_idx).clamp(min=0)
        flat_index = torch.arange(len(labels), device=labels.device) * self.num_classes + labels
        loss_cls = self.loss_cls(
            chosen[:, _CLASSES:], SparseTargets(flat_index, weight), weight.unsqueeze(1), count * self.num_classes
        )
        return loss_box, loss_obj, loss_cls

    def decode(self, preds: dict[str, list[Tensor]], img_shapes: Tensor | None = None) -> dict[str, Tensor]:
        """Return ``bboxes (B, P, 4)``, xyxy in pixels of the network's input, and ``scores (B, P, C)``."""
        levels = preds['anchor_preds']
        parts = [
            self._decode(widened(self._rows(level)), priors)
            for level, priors in zip(levels, self._priors(levels), strict=True)
        ]
        bboxes, scores = zip(*parts, strict=True)
        return dict(bboxes=torch.cat(bboxes, 1), scores=torch.cat(scores, 1))

    @torch.no_grad()
    def predict(self, preds: dict[str, list[Tensor]], metas: Sequence[dict]) -> list[DetDataSample]:
        """Return what ``results(decode(preds))`` does, but decode only what can be reported, which saves most of it."""
        with torch.autocast(preds['anchor_preds'][0].device.type, enabled=False):
            return self.results(self._decode_likely(preds['anchor_preds']), metas)

    def _decode_likely(self, levels: Sequence[Tensor]) -> dict[str, list[Tensor]]:
        """Return what ``decode`` does for the anchors whose objectness exceeds the threshold, a tensor an image.

        A score is at most the objectness.
        """
        score_thr = self.test_cfg.get('score_thr', 0.0)
        bboxes, scores = [], []
        for image in range(len(levels[0])):
            parts = []
            for level, priors in zip(levels, self._priors(levels), strict=True):
                rows = self._rows(level[image : image + 1])[0]  # (P, 5 + C)
                kept = (widened(rows[:, _OBJ]).sigmoid() > score_thr).nonzero().squeeze(1)
                priors = priors._replace(points=priors.points[kept], sizes_wh=priors.sizes_wh[kept])
                parts.append(self._decode(widened(rows[kept]), priors))
            image_bboxes, image_scores = zip(*parts, strict=True)
            bboxes.append(torch.cat(image_bboxes))
            scores.append(torch.cat(image_scores))
        return dict(bboxes=bboxes, scores=scores)

    def _decode(self, rows: Tensor, priors: AnchorPriors) -> tuple[Tensor, Tensor]:
        """Return boxes ``(..., P, 4)`` in input pixels and scores ``(..., P, C)``, of rows ``(..., P, 5 + C)``."""
        bboxes = self.bbox_coder.decode(priors.points, priors.sizes_wh, rows[..., :_OBJ], priors.stride)
        return bboxes, rows[..., _OBJ:_CLASSES].sigmoid() * rows[..., _CLASSES:].sigmoid()

    def _rows(self, level: Tensor) -> Tensor:
        """Return a row per anchor, ``(B, A * (5 + C), h, w) -> (B, h * w * A, 5 + C)``, a view in channels_last."""
        return level.permute(0, 2, 3, 1).reshape(level.shape[0], -1, _CLASSES + self.num_classes)

    def _priors(self, levels: Sequence[Tensor]) -> list[AnchorPriors]:
        dtype = torch.promote_types(levels[0].dtype, torch.float32)
        return self.prior_generator([level.shape[-2:] for level in levels], levels[0].device, dtype)


class Gains(NamedTuple):
    """Factors of the losses' weights."""

    box: float
    obj: float
    cls: float
