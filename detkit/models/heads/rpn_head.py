"""``RPNHead``: proposes regions that may hold an object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from detkit.registry import HEADS, PRIOR_SAMPLERS
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import Candidates, SparseTargets
from detkit.utils.ranks import shared_divisor

from ..layers.sparse_grad_conv import SparseGradConv2d
from ..layers.towers import build_tower, init_convs
from ..postprocess.torchvision_nms import nms
from .base_head import widened
from .fpn_anchor_head import FPNAnchorHead, objects_of
from .fpn_head import clip_to_images

# Proposals with a shorter side, in pixels, are left out.
_MIN_SIDE = 1e-3


@HEADS.register_module()
class RPNHead(FPNAnchorHead):
    """Region proposal network (Faster R-CNN, arXiv:1506.01497): the first stage of a detector, or one by itself.

    It learns from a sample of the anchors of each image; the losses are divided by the number of samples of the batch.
    As a first stage it has one class, 'object'.

    Args:
        num_classes, in_channels, strides, feat_channels, prior_generator, assigner: see ``FPNAnchorHead``.
        bbox_coder, loss_cls, loss_bbox, reg_decoded_bbox, test_cfg, init_cfg: see there, too.
        num_convs: 3x3 convolutions before the two predictors.
        prior_sampler: config of the sampler.
        proposals: ``dict(nms_pre=…, max_per_img=…, iou_thr=…, score_thr=…)``: the best anchors of a level that are
            compared, the best of an image that are kept, the IoU above which a better one suppresses, and the lowest
            score. A pair of numbers is for training and for prediction. The defaults are torchvision's.
    """

    default_parts = {
        'assigner': dict(type='MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3, match_low_quality=True),
        'bbox_coder': dict(type='DeltaBBoxCoder'),
        'loss_cls': dict(type='BinaryCrossEntropyLoss'),
        'loss_bbox': dict(type='SmoothL1Loss', beta=1 / 9),
    }
    PROPOSALS: Mapping[str, float | tuple[float, float]] = dict(
        nms_pre=(2000, 1000), max_per_img=(2000, 1000), iou_thr=0.7, score_thr=0.0
    )

    def __init__(
        self,
        num_classes: int = 1,
        in_channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        feat_channels: int = 256,
        num_convs: int = 1,
        prior_generator: dict | None = None,
        assigner: dict | None = None,
        prior_sampler: dict | None = None,
        bbox_coder: dict | None = None,
        loss_cls: dict | None = None,
        loss_bbox: dict | None = None,
        reg_decoded_bbox: bool = False,
        proposals: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(
            num_classes,
            in_channels,
            strides,
            feat_channels,
            prior_generator,
            assigner,
            bbox_coder,
            loss_cls,
            loss_bbox,
            reg_decoded_bbox,
            test_cfg,
            init_cfg,
        )
        unknown = set(proposals or {}) - set(self.PROPOSALS)
        if unknown:
            raise ValueError(f'RPNHead: proposals has no {sorted(unknown)[0]!r}; it takes {", ".join(self.PROPOSALS)}')
        self.proposals_cfg = {**self.PROPOSALS, **(proposals or {})}
        self.prior_sampler = PRIOR_SAMPLERS.build(prior_sampler or dict(type='RandomPriorSampler'))
        self.convs = build_tower(feat_channels, feat_channels, num_convs, learns_few_cells=True)
        self.conv_objectness = SparseGradConv2d(feat_channels, self.num_shapes * num_classes, 1)
        self.conv_bbox = SparseGradConv2d(feat_channels, self.num_shapes * 4, 1)
        init_convs((self.convs, self.conv_objectness, self.conv_bbox))

    @property
    def class_rows(self) -> Mapping[str, tuple[int, int, int]]:
        """The predictor's channels, see ``BaseHead``; those of the one class 'object' belong to none of the data's."""
        return {} if self.num_classes == 1 else {'conv_objectness': (self.num_shapes, 0, 0)}

    def forward(self, feats: Sequence[Tensor], padding_mask: Tensor | None = None) -> dict[str, list[Tensor]]:
        """Return raw predictions.

        Args:
            feats: a ``(B, in_channels[i], h_i, w_i)`` map for each level.
            padding_mask: unused, but part of every head's signature.

        Returns:
            ``cls_logits``, a list of ``(B, A * C, h_i, w_i)``, and ``bbox_preds``, a list of ``(B, A * 4, h_i, w_i)``.
        """
        inputs = [self.convs(x) for x in self._inputs(feats)]
        return dict(
            cls_logits=[self.conv_objectness(x) for x in inputs],
            bbox_preds=[self.conv_bbox(x) for x in inputs],
        )

    def loss(self, preds: dict[str, list[Tensor]], gt: GtBatch) -> dict[str, Tensor]:
        """Return ``loss_cls`` and ``loss_box``, in float32 or finer."""
        with torch.autocast(preds['cls_logits'][0].device.type, enabled=False):
            rows = {name: widened(torch.cat(levels, 1)) for name, levels in self._all_rows(preds).items()}
            priors = self._level_priors(preds).bboxes
            gt_idx = self.assigner(Candidates(), priors, gt)  # (B, P)
            sampled = self.prior_sampler(gt_idx)
            index = sampled.prior_idx  # (B, S)
            bboxes, labels = objects_of(gt, gt_idx.gather(1, index), priors.dtype)
            weight = sampled.valid.to(priors.dtype)
            positive = (sampled.positive & sampled.valid).to(priors.dtype).flatten()
            avg_factor = shared_divisor(weight.sum(), weight)

            logits = _gather(rows['cls_logits'], index)  # (B * S, C)
            flat_index = torch.arange(len(logits), device=logits.device) * self.num_classes + labels.flatten()
            loss_cls = self.loss_cls(logits, SparseTargets(flat_index, positive), weight.view(-1, 1), avg_factor)
            bbox_preds = _gather(rows['bbox_preds'], index)
            loss_box = self._bbox_loss(bbox_preds, priors[index.flatten()], bboxes.flatten(0, 1), positive, avg_factor)
            return dict(loss_cls=loss_cls, loss_box=loss_box)

    @torch.no_grad()
    def proposals(self, preds: dict[str, list[Tensor]], img_shapes: Tensor) -> list[Tensor]:
        """Return the regions ``(R, 4)`` of each image, xyxy inside the image, the most probable first.

        Args:
            preds: the output of ``forward``.
            img_shapes: ``(B, 2)`` (h, w) of the images before padding.
        """
        nms_pre, max_per_img, iou_thr, score_thr = (
            value if not isinstance(value, list | tuple) else value[0 if self.training else 1]
            for value in (self.proposals_cfg[name] for name in self.PROPOSALS)
        )
        rows, priors = self._all_rows(preds), self._level_priors(preds)
        scores, bboxes, first = [], [], 0
        for level, count in enumerate(priors.level_sizes):
            logits = widened(rows['cls_logits'][level]).amax(-1)  # (B, P)
            best, index = logits.topk(min(nms_pre, count), 1)
            chosen = widened(rows['bbox_preds'][level].gather(1, index.unsqueeze(-1).expand(-1, -1, 4)))
            decoded = self.bbox_coder.decode(priors.bboxes[first + index], chosen)
            bboxes.append(clip_to_images(decoded, img_shapes))
            scores.append(best.sigmoid())
            first += count
        results = []
        for image in range(len(img_shapes)):
            parts = [
                _without_duplicates(level_bboxes[image], level_scores[image], iou_thr, score_thr)
                for level_bboxes, level_scores in zip(bboxes, scores, strict=True)
            ]
            image_bboxes, image_scores = (torch.cat(each) for each in zip(*parts, strict=True))
            best = image_scores.argsort(descending=True, stable=True)[:max_per_img]
            results.append(image_bboxes[best])
        return results


def _without_duplicates(bboxes: Tensor, scores: Tensor, iou_thr: float, score_thr: float) -> tuple[Tensor, Tensor]:
    """Return the boxes ``(N, 4)`` and scores ``(N,)`` of a level that remain, best first."""
    sides = bboxes[:, 2:] - bboxes[:, :2]
    kept = ((sides >= _MIN_SIDE).all(1) & (scores >= score_thr)).nonzero().squeeze(1)
    bboxes, scores = bboxes[kept], scores[kept]
    best = nms(bboxes, scores, iou_thr)
    return bboxes[best], scores[best]


def _gather(rows: Tensor, index: Tensor) -> Tensor:
    """Return ``(B * S, channels)`` for rows ``(B, P, channels)`` and indices ``(B, S)``."""
    return rows.gather(1, index.unsqueeze(-1).expand(-1, -1, rows.shape[-1])).flatten(0, 1)
