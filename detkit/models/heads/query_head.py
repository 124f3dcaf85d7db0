"""``QueryHead``: the base of heads that predict a set of objects from queries, and the matches that they learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from detkit.protocols import BoxLoss, CoordinateLoss, ImageCoder, QueryAssigner
from detkit.structures.data_sample import DetDataSample
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import AssignResult, QualityTargets
from detkit.utils.ranks import shared_divisor

from ..coders.relative_bbox_coder import cxcywh_to_ordered_xyxy
from ..losses.boxes import aligned_iou
from ..postprocess.nms import Detections, find_candidates
from ..postprocess.rescale import to_original
from .base_head import BaseHead

# B images of at most M objects, N objects in all, Q queries, L layers that predict.

# The matching of RT-DETR, D-FINE and RF-DETR: the weights are those of DINO (arXiv:2203.03605).
FOCAL_MATCHING = dict(
    type='HungarianAssigner',
    match_costs=[
        dict(type='FocalClassCost', weight=2.0),
        dict(type='BBoxL1Cost', weight=5.0),
        dict(type='GIoUCost', weight=2.0),
    ],
)
# For boxes without area only: relative to the image, one pixel has an area of about 1e-6.
_EPS = 1e-12


class Matches(NamedTuple):
    """The N objects of a batch and the queries that learn them, layer by layer.

    Attributes:
        object_idx: ``(N,)`` int64, each object's index in the flattened ``(B, M)``.
        query_idx: ``(L, N)`` int64, the index of its query in the flattened ``(B, Q)``.
        weight: ``(L, N)``, 1, or 0 for an object without a query, of which there are fewer than objects.
        avg_factor: the number of objects, see ``shared_divisor``.
    """

    object_idx: Tensor
    query_idx: Tensor
    weight: Tensor
    avg_factor: Tensor | float

    def gather(self, preds: Tensor, layer: int) -> Tensor:
        """Return a layer's predictions of the matched queries: ``(L, B, Q, ...)`` -> ``(N, ...)``."""
        return preds[layer].flatten(0, 1).index_select(0, self.query_idx[layer])


def find_matches(assigned: AssignResult, gt: GtBatch, num_queries: int) -> Matches:
    """Return the matches of the objects without the batch's padding, whose size is known on the CPU.

    Args:
        assigned: the result of a ``QueryAssigner`` for L layers.
        gt: the ground truth.
        num_queries: Q.
    """
    object_idx = gt.flat_index
    layers = len(assigned.prior_idx)
    # (L, B, M, 1) -> (L, N)
    queries = assigned.prior_idx.reshape(layers, -1).index_select(1, object_idx)
    matched = assigned.valid.reshape(layers, -1).index_select(1, object_idx)
    query_idx = image_of(object_idx, gt) * num_queries + queries
    avg_factor = shared_divisor(float(gt.num_instances), gt.bboxes)
    return Matches(object_idx, query_idx, matched.to(torch.float32), avg_factor)


def image_of(object_idx: Tensor, gt: GtBatch) -> Tensor:
    """Return the image of each object, given by indices in the flattened ``(B, M)``."""
    return object_idx.div(max(gt.max_instances, 1), rounding_mode='floor')


def matched_targets(matches: Matches, gt: GtBatch, gt_bboxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the matched objects' boxes ``(N, 4)``, of ``gt_bboxes (B, M, 4)``, and (h, w) of their images."""
    targets = gt_bboxes.flatten(0, 1).index_select(0, matches.object_idx)
    return targets, gt.img_shapes.index_select(0, image_of(matches.object_idx, gt))


def stack_costs(costs: Sequence[Tensor | None]) -> Tensor | None:
    """Return the costs of all layers, ``(L, B, Q, M)``, 0 where a layer has none; None where no layer has any."""
    given = next((cost for cost in costs if cost is not None), None)
    if given is None:
        return None
    return torch.stack([torch.zeros_like(given) if cost is None else cost for cost in costs])


class QueryHead(BaseHead):
    """Base of heads that predict a set of objects from queries.

    A child builds the parts in ``takes``.

    Attributes:
        MAX_PER_IMG: the number of detections of an image, where ``test_cfg`` has none.
        num_queries: Q, the greatest number of objects that can be detected in an image.
        rotated: whether boxes have an angle as fifth coordinate, see ``QueryRBBoxes``.
        BBOXES: the decoded tensor of boxes.
    """

    takes = {
        'assigner': QueryAssigner,
        'bbox_coder': ImageCoder,
        'loss_bbox': CoordinateLoss,
        'loss_iou': BoxLoss,
    }
    default_parts = {
        'bbox_coder': dict(type='RelativeBBoxCoder'),
        'loss_bbox': dict(type='L1Loss', loss_weight=5.0),
        'loss_iou': dict(type='IoULoss', mode='giou', loss_weight=2.0, eps=1e-12),
    }
    provides = ('bbox',)
    loss_reduction = 'mean'  # over the batch's queries and objects
    few_steps_from_random = 800  # a set of four images is learnt by heart in so many, larger sets take thousands
    SUPPRESSION = 'none'
    HALF_GRAPH = False  # ONNX's attention mixes the two precisions
    TEST_KEYS = ('score_thr', 'max_per_img', 'classes')
    num_queries: int
    MAX_PER_IMG: int = 100
    rotated: bool = False
    BBOXES: str = 'bboxes'

    def extend(
        self, preds: dict[str, Any], finest: Tensor, content: Tensor, queries: Tensor, num_denoising: int | None = None
    ) -> dict[str, Any]:
        """Return predictions with what a child adds to them, see ``QueryMasks``.

        Args:
            preds: the predictions.
            finest: ``(B, C, h, w)``, the finest map that the decoder reads.
            content: ``(B, Q, C)``, the selected cells.
            queries: ``(L, B, D + Q, C)``, the decoder's output.
            num_denoising: D, how many of the queries, the first ones, are denoising queries; None for a head that never
                has any.
        """
        return preds

    def num_matched(self, preds: dict[str, Any]) -> int:
        """Return how many predictions are matched to the objects: the L layers, others, and at last the selection."""
        return len(preds['cls_logits']) + 1

    def added_costs(self, preds: dict[str, Any], gt: GtBatch) -> list[Tensor | None]:
        """Return what a child adds to the costs of pairs ``(B, Q, M)``, for all ``num_matched``; None for nothing."""
        return [None]

    def added_losses(self, preds: dict[str, Any], matches: Matches, gt: GtBatch) -> dict[str, Tensor]:
        """Return the losses that a child adds, each ``(num_matched,)``."""
        return {}

    def added_denoising_losses(self, preds: dict[str, Any], matches: Matches, gt: GtBatch) -> dict[str, Tensor]:
        """Return the losses of denoising queries that a child adds, each ``(L,)``."""
        return {}

    def padded_shapes(self, finest: Tensor) -> Tensor:
        """Return the (h, w) of the batch's images by their finest map, ``(B, 2)``, made without synchronisation."""
        sides = [
            torch.full((finest.shape[0],), cells * self.strides[0], dtype=torch.int64, device=finest.device)
            for cells in finest.shape[-2:]
        ]
        return torch.stack(sides, dim=1)

    def encode_bboxes(self, gt: GtBatch, dtype: torch.dtype) -> Tensor:
        """Return the objects' boxes ``(B, M, 4)``, cxcywh relative to the images ``gt.img_shapes``."""
        return self.bbox_coder.encode(gt.bboxes.to(dtype), gt.img_shapes)

    def overlaps(self, bboxes: Tensor, targets: Tensor, shapes: Tensor) -> Tensor:
        """Return how well boxes fit their targets, in [0, 1].

        Args:
            bboxes, targets: ``(N, 4)`` cxcywh relative to the image.
            shapes: ``(N, 2)`` (h, w) of their images.
        """
        return aligned_iou(cxcywh_to_ordered_xyxy(bboxes), cxcywh_to_ordered_xyxy(targets), 'iou', _EPS)

    def pair_losses(
        self, bboxes: Tensor, targets: Tensor, shapes: Tensor, weight: Tensor, avg_factor: Tensor | float
    ) -> dict[str, Tensor]:
        """Return ``loss_box`` and ``loss_giou`` of boxes and their targets; the arguments are those of ``overlaps``."""
        return dict(
            loss_box=self.loss_bbox(bboxes, targets, weight, avg_factor),
            loss_giou=self.loss_iou(
                cxcywh_to_ordered_xyxy(bboxes), cxcywh_to_ordered_xyxy(targets), weight, avg_factor
            ),
        )

    def box_losses(self, bbox_preds: Tensor, matches: Matches, gt: GtBatch, gt_bboxes: Tensor) -> dict[str, Tensor]:
        """Return the ``pair_losses`` of every layer, each ``(L,)``.

        Args:
            bbox_preds: ``(L, B, Q, 4)`` cxcywh relative to the image.
            matches: the queries that learn a box.
            gt: the ground truth.
            gt_bboxes: ``(B, M, 4)`` cxcywh relative to the image.
        """
        targets, shapes = matched_targets(matches, gt, gt_bboxes)
        losses = [
            self.pair_losses(matches.gather(bbox_preds, layer), targets, shapes, weight, matches.avg_factor)
            for layer, weight in enumerate(matches.weight)
        ]
        return {name: torch.stack([own[name] for own in losses]) for name in losses[0]}

    def matched_losses(
        self, cls_logits: Tensor, bbox_preds: Tensor, matches: Matches, gt: GtBatch, gt_bboxes: Tensor
    ) -> dict[str, Tensor]:
        """Return ``loss_cls``, ``loss_box`` and ``loss_giou`` of a matching, each ``(L,)``, for a ``QualityClassLoss``.

        A matched query's logit of the object's class learns with the IoU of its box, all other logits are background.

        Args:
            cls_logits: ``(L, B, Q, num_classes)``.
            bbox_preds: ``(L, B, Q, 4)`` cxcywh relative to the image.
            gt_bboxes: ``(B, M, 4)`` in the same form.
        """
        loss_cls = self.class_losses(cls_logits, bbox_preds, matches, gt, gt_bboxes)
        return dict(loss_cls=loss_cls, **self.box_losses(bbox_preds, matches, gt, gt_bboxes))

    def class_losses(
        self, cls_logits: Tensor, bbox_preds: Tensor, matches: Matches, gt: GtBatch, gt_bboxes: Tensor
    ) -> Tensor:
        """Return ``loss_cls`` of ``matched_losses``, whose arguments these are, ``(L,)``."""
        labels = gt.labels.flatten().index_select(0, matches.object_idx)  # (N,)
        targets, shapes = matched_targets(matches, gt, gt_bboxes)
        loss_cls = []
        for layer, weight in enumerate(matches.weight):
            overlaps = self.overlaps(matches.gather(bbox_preds.detach(), layer), targets, shapes)
            flat_index = matches.query_idx[layer] * self.num_classes + labels
            quality = QualityTargets(flat_index, overlaps, weight > 0)
            loss_cls.append(self.loss_cls(cls_logits[layer], quality, avg_factor=matches.avg_factor))
        return torch.stack(loss_cls)

    def results(self, decoded: Mapping[str, Any], metas: Sequence[dict]) -> list[DetDataSample]:
        """Return detections in pixels of the original images, best first.

        Args:
            decoded: the output of ``decode``.
            metas: for each image ``matrix`` and ``ori_shape``, see ``DetDataSample``.
        """
        results = []
        for image, meta in enumerate(metas):
            kept = find_candidates(
                decoded[self.BBOXES][image],
                decoded['scores'][image],
                self.test_cfg.get('score_thr', 0.0),
                self.test_cfg.get('max_per_img', self.MAX_PER_IMG),
                multi_label=self.MULTI_LABEL,
                classes=self.test_cfg.get('classes'),
            )
            sample = DetDataSample(metainfo=meta)
            sample.pred_instances = self._instances(decoded, image, kept, meta)
            results.append(sample)
        return results

    def _instances(self, decoded: Mapping[str, Any], image: int, kept: Detections, meta: dict) -> InstanceData:
        """Return the detections of one image, on the CPU.

        Args:
            decoded: see ``results``.
            kept: the reported detections; their ``prior_idx`` are indices of queries.
        """
        bboxes = to_original(kept.bboxes, meta['matrix'], meta['ori_shape'])
        return InstanceData(bboxes=bboxes.cpu(), scores=kept.scores.cpu(), labels=kept.labels.cpu())
