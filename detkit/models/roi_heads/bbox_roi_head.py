"""``BBoxRoIHead``: classifies and refines regions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from detkit.protocols import BoxAssigner, ClassLoss, CoordinateLoss, DeltaCoder
from detkit.registry import ASSIGNERS, CODERS, LOSSES, PRIOR_SAMPLERS, ROI_HEADS
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import Candidates
from detkit.utils.ranks import shared_divisor

from ..assigners.max_iou_assigner import IGNORED
from ..heads.base_head import widened
from ..heads.fpn_head import clip_to_images
from ..layers.towers import build_tower
from .base_roi_head import BaseRoIHead, RoISamples, init_relu_convs, join

# Detections with a shorter side, in pixels of the network's input, are left out.
_MIN_SIDE = 1e-2
# Regions whose features are in memory at once in a prediction, of some 50 KiB each.
_CHUNK = 512


@ROI_HEADS.register_module()
class BBoxRoIHead(BaseRoIHead):
    """Head of classes and boxes: convolutions, linear layers and two predictors (Fast R-CNN, arXiv:1504.08083).

    It learns from a sample of the regions of each image, to which the objects' own boxes are added; the losses are
    divided by the number of samples of the batch. Channel 0 of the predictors is that of background, whose box nobody
    reads; it is there so that torchvision's weights fit.

    Args:
        num_classes, in_channels, strides, init_cfg: see ``BaseRoIHead``.
        roi_extractor: config of what cuts regions out of maps.
        num_convs, conv_channels, norm: 3x3 convolutions, their channels, and their normalisation (``'bn'`` or None).
        num_fcs, fc_channels: linear layers behind them, and their width.
        assigner, prior_sampler, bbox_coder, loss_cls, loss_bbox: configs of the parts; ``loss_bbox`` compares the
            numbers of the coder.
    """

    takes = {'assigner': BoxAssigner, 'bbox_coder': DeltaCoder, 'loss_cls': ClassLoss, 'loss_bbox': CoordinateLoss}
    default_parts = {
        'assigner': dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5),
        'bbox_coder': dict(type='DeltaBBoxCoder', stds=(0.1, 0.1, 0.2, 0.2)),
        'loss_cls': dict(type='CrossEntropyLoss'),
        'loss_bbox': dict(type='SmoothL1Loss', beta=1 / 9),
    }
    class_rows = {'fc_cls': (1, 1, 0), 'fc_bbox': (1, 1, 0, 4)}

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        roi_extractor: dict | None = None,
        num_convs: int = 0,
        conv_channels: int = 256,
        norm: str | None = None,
        num_fcs: int = 2,
        fc_channels: int = 1024,
        assigner: dict | None = None,
        prior_sampler: dict | None = None,
        bbox_coder: dict | None = None,
        loss_cls: dict | None = None,
        loss_bbox: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        extractor = roi_extractor or dict(type='RoIAlignExtractor', out_size=7)
        super().__init__(num_classes, in_channels, strides, extractor, init_cfg)
        self.assigner = self.build_part(ASSIGNERS, 'assigner', assigner)
        self.prior_sampler = PRIOR_SAMPLERS.build(
            prior_sampler or dict(type='RandomPriorSampler', num=512, pos_fraction=0.25)
        )
        self.bbox_coder = self.build_part(CODERS, 'bbox_coder', bbox_coder)
        self.loss_cls = self.build_part(LOSSES, 'loss_cls', loss_cls, num_classes + 1)
        self.loss_bbox = self.build_part(LOSSES, 'loss_bbox', loss_bbox)
        self.shared_convs = build_tower(self.in_channels, conv_channels, num_convs, norm)
        init_relu_convs(self.shared_convs)
        width = (conv_channels if num_convs else self.in_channels) * self.roi_extractor.out_size**2
        self.shared_fcs = nn.ModuleList(nn.Linear(fc_channels if i else width, fc_channels) for i in range(num_fcs))
        width = fc_channels if num_fcs else width
        self.fc_cls = nn.Linear(width, num_classes + 1)
        self.fc_bbox = nn.Linear(width, (num_classes + 1) * 4)

    def forward(self, feats: Sequence[Tensor], bboxes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return logits ``(R, 1 + C)``, background first, and raw boxes ``(R, 1 + C, 4)``, in float32 or finer.

        Args:
            feats: a ``(B, in_channels, h_i, w_i)`` map for each level.
            bboxes: the regions ``(R_b, 4)`` of each image.
        """
        parts = [bboxes] if self.training else _few_at_once(bboxes)
        hidden = []
        for part in parts:
            x = self.shared_convs(self.features(feats, part)).flatten(1)  # (R, C, s, s) -> (R, C * s * s)
            for layer in self.shared_fcs:
                x = layer(x).relu()
            hidden.append(x)
        x = torch.cat(hidden)
        return widened(self.fc_cls(x)), widened(self.fc_bbox(x)).unflatten(1, (-1, 4))

    @torch.no_grad()
    def sample(self, proposals: Sequence[Tensor], gt: GtBatch) -> list[RoISamples]:
        """Return the regions of each image that are learnt from, out of its proposals ``(R_b, 4)`` and its objects."""
        candidates = [
            torch.cat([own, bboxes[valid].to(own.dtype)])
            for own, bboxes, valid in zip(proposals, gt.bboxes, gt.valid, strict=True)
        ]
        most = max(len(own) for own in candidates)
        padded = torch.stack([torch.cat([own, own.new_zeros(most - len(own), 4)]) for own in candidates])
        gt_idx = self.assigner(Candidates(), padded, gt)  # (B, R)
        for image, own in enumerate(candidates):
            gt_idx[image, len(own) :] = IGNORED
        sampled = self.prior_sampler(gt_idx)
        results = []
        for image, own in enumerate(candidates):
            index = sampled.prior_idx[image][sampled.valid[image]]
            results.append(RoISamples(own[index], gt_idx[image, index]))
        return results

    def loss(
        self, cls_logits: Tensor, bbox_preds: Tensor, samples: Sequence[RoISamples], gt: GtBatch
    ) -> dict[str, Tensor]:
        """Return ``loss_cls`` and ``loss_box`` of what ``forward`` returns for the samples' regions."""
        gt_idx = join(samples, gt.max_instances)  # (R,)
        avg_factor = shared_divisor(len(gt_idx), cls_logits)
        labels = torch.zeros_like(gt_idx)
        chosen = (gt_idx >= 0).nonzero().squeeze(1)
        labels[chosen] = gt.labels.flatten()[gt_idx[chosen]] + 1
        weight = torch.ones_like(cls_logits[:, 0])
        loss_cls = self.loss_cls(cls_logits, labels, weight, avg_factor)
        regions = torch.cat([own.bboxes for own in samples])[chosen].to(bbox_preds.dtype)
        targets = self.bbox_coder.encode(regions, gt.bboxes.flatten(0, 1)[gt_idx[chosen]].to(bbox_preds.dtype))
        loss_box = self.loss_bbox(bbox_preds[chosen, labels[chosen]], targets, weight[chosen], avg_factor)
        return dict(loss_cls=loss_cls, loss_box=loss_box)

    def decode(
        self, cls_logits: Tensor, bbox_preds: Tensor, proposals: Sequence[Tensor], img_shapes: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return for each image boxes ``(R_b, C, 4)``, cut off at its border, and scores ``(R_b, C)``."""
        counts = [len(own) for own in proposals]
        scores = cls_logits.softmax(-1)[:, 1:].split(counts)
        regions = torch.cat(list(proposals)).to(bbox_preds.dtype).unsqueeze(1)  # (R, 1, 4)
        decoded = self.bbox_coder.decode(regions, bbox_preds[:, 1:]).split(counts)
        bboxes, kept_scores = [], []
        for own, own_scores, shape in zip(decoded, scores, img_shapes, strict=True):
            own = clip_to_images(own.flatten(0, 1), shape).view_as(own)
            is_large = (own[..., 2:] - own[..., :2] >= _MIN_SIDE).all(-1)
            bboxes.append(own)
            kept_scores.append(own_scores * is_large)
        return bboxes, kept_scores


def _few_at_once(bboxes: Sequence[Tensor]) -> list[list[Tensor]]:
    """Divide the regions ``(R_b, 4)`` of each image into parts of the same form, each with regions of one image."""
    return [
        [some if other == image else own[:0] for other in range(len(bboxes))]
        for image, own in enumerate(bboxes)
        for some in own.split(_CHUNK)
    ]
