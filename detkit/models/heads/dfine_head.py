"""``DFINEHead``: RT-DETR's head whose boxes are distributions that the decoder's layers refine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from detkit.protocols import DistributionLoss, DistributionTeacherLoss, EdgeDecoder
from detkit.registry import HEADS, LOSSES
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import Candidates
from detkit.utils.ranks import shared_divisor

from ..coders.relative_bbox_coder import cxcywh_to_xyxy
from ..layers import MLP
from ..layers.distribution_decoder import DecodedDistributions
from ..layers.precision import full_precision
from ..layers.query_selection import init_bbox_mlp
from .query_head import Matches, find_matches, matched_targets, stack_costs
from .rtdetr_head import RTDETRHead

# B images of at most M objects, N objects in all, Q queries, D for denoising, L decoder layers.

# The highest probabilities of an edge's distribution, by which its quality is estimated.
_TOP = 4
_QUALITY_DIMS = 64


@HEADS.register_module()
class DFINEHead(RTDETRHead):
    """Head of D-FINE (arXiv:2410.13842), which is RT-DETR's with other boxes and more losses.

    The decoder returns a distribution for each edge of a box. Its four highest probabilities and their mean also change
    the class logits (location quality estimator). Of the losses, those of the classes are RT-DETR's; those of boxes and
    distributions concern all matches of any layer, each query with the object that it has in most of them; and every
    layer learns the last layer's distributions (self-distillation). The smallest DEIMv2 (arXiv:2509.20787) have neither
    the matches of all layers nor the losses of distributions.

    Args:
        num_classes: number of classes.
        unite_matches: whether boxes and distributions learn from the matches of all layers, instead of their own.
        edge_losses: whether ``loss_dfl`` and ``loss_distill`` are computed.
        loss_dfl: config of the loss of the distributions; it is weighted by the IoU of the box. The published weight
            of .15 counts the sum of four sides, which is .6 for their mean.
        loss_distill: config of the loss of the last layer's distributions as teachers.
        **options: the arguments of ``RTDETRHead``.
    """

    takes = {
        **RTDETRHead.takes,
        'decoder': EdgeDecoder,
        'loss_dfl': DistributionLoss,
        'loss_distill': DistributionTeacherLoss,
    }
    default_parts = {
        **RTDETRHead.default_parts,
        'decoder': dict(type='DistributionDecoder'),
        'loss_dfl': dict(type='DistributionFocalLoss', loss_weight=0.6),
        'loss_distill': dict(type='DistillationLoss', loss_weight=1.5, temperature=5.0),
    }

    def __init__(
        self,
        num_classes: int,
        unite_matches: bool = True,
        edge_losses: bool = True,
        loss_dfl: dict | None = None,
        loss_distill: dict | None = None,
        **options: Any,
    ) -> None:
        super().__init__(num_classes, **options)
        self.unite_matches = unite_matches
        self.edge_losses = edge_losses
        dims, bins = self.decoder.embed_dims, self.decoder.bin_scale.reg_max + 1
        for index, channels in enumerate(self.in_channels):
            if channels == dims:
                self.in_convs[index] = nn.Identity()
        self.quality_mlps = nn.ModuleList(
            MLP(4 * (_TOP + 1), _QUALITY_DIMS, 1, 2, options.get('act', 'ReLU')) for _ in range(self.decoder.num_layers)
        )
        for mlp in self.quality_mlps:
            init_bbox_mlp(mlp)
        self.loss_dfl = self.build_part(LOSSES, 'loss_dfl', loss_dfl, bins)
        self.loss_distill = self.build_part(LOSSES, 'loss_distill', loss_distill, bins)

    def _predictions(self, decoded: DecodedDistributions) -> dict[str, Tensor]:
        """Return what is predicted for every query.

        Beside ``cls_logits`` and ``bbox_preds`` these are ``edge_logits (L, B, D + Q, 4, bins)`` and, of the box that
        the edges start from, ``pre_cls_logits`` and ``pre_bbox_preds``, with one layer.
        """
        queries, bbox_preds, edge_logits, initial = decoded
        with full_precision(queries):
            queries = queries.to(bbox_preds.dtype)
            plain = [fc_cls(own) for fc_cls, own in zip(self.fc_cls, queries, strict=True)]
            top = edge_logits.softmax(-1).topk(_TOP, dim=-1).values
            statistics = torch.cat((top, top.mean(-1, keepdim=True)), dim=-1).flatten(-2)  # (L, B, D + Q, 4 * 5)
            quality = [mlp(own) for mlp, own in zip(self.quality_mlps, statistics, strict=True)]
        return dict(
            cls_logits=torch.stack(plain) + torch.stack(quality),
            bbox_preds=bbox_preds,
            edge_logits=edge_logits,
            pre_cls_logits=plain[0].unsqueeze(0),
            pre_bbox_preds=initial.unsqueeze(0),
        )

    def num_matched(self, preds: dict[str, Any]) -> int:
        """Return L + 2: the layers, the box that edges start from, and the selection."""
        return len(preds['cls_logits']) + 2

    def loss(self, preds: dict[str, Tensor], gt: GtBatch) -> dict[str, Tensor]:
        """Return ``loss_cls``, ``loss_box`` (L1), ``loss_giou`` and ``loss_dfl`` of the last layer, and sums of others.

        These are ``loss_aux`` of the layers before the last and of the box that edges start from, ``loss_enc`` of the
        selection, ``loss_distill`` of all layers, and in training ``loss_dn`` of the denoising queries. Without
        ``edge_losses`` there is no ``loss_dfl`` and no ``loss_distill``.
        """
        layers, denoising = self.layer_losses(preds, gt)
        last = len(preds['cls_logits']) - 1
        distill = layers.pop('loss_distill', None)
        losses = {name: values[last] for name, values in layers.items()}
        losses['loss_enc'] = sum(values[-1] for name, values in layers.items() if name != 'loss_dfl')
        rest = {name: torch.cat((values[:last], values[last + 1 : -1])) for name, values in layers.items()}
        losses['loss_aux'] = sum(values.sum() for values in rest.values())
        if distill is not None:
            losses['loss_distill'] = distill.sum()
        if denoising:
            losses['loss_dn'] = sum(values.sum() for values in denoising.values())
        return losses

    def layer_losses(self, preds: dict[str, Tensor], gt: GtBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the losses of every decoder layer.

        Returns:
            The losses ``loss_cls``, ``loss_box`` and ``loss_giou``, each ``(L + 2,)``, with those of the box that edges
            start from and of the selection at the end; with ``edge_losses`` ``loss_dfl`` and ``loss_distill``, each
            ``(L,)``; and the same of the denoising queries, without the selection, or an empty dict without denoising.
        """
        with torch.autocast(preds['cls_logits'].device.type, enabled=False):
            gt = replace(gt, img_shapes=preds['img_shapes'])
            cls_logits, bbox_preds = (
                torch.cat((preds[name], preds[f'pre_{name}'], preds[f'enc_{name}'].unsqueeze(0)))
                for name in ('cls_logits', 'bbox_preds')
            )
            gt_bboxes = self.encode_bboxes(gt, bbox_preds.dtype)
            costs = stack_costs(self.added_costs(preds, gt))
            assigned = self.assigner(Candidates(cls_logits, bbox_preds, costs), None, gt)
            matches = find_matches(assigned, gt, bbox_preds.shape[2])
            learned = union_of_layers(matches, gt, bbox_preds.shape[2]) if self.unite_matches else matches
            losses = dict(
                loss_cls=self.class_losses(cls_logits, bbox_preds, matches, gt, gt_bboxes),
                **self.box_losses(bbox_preds, learned, gt, gt_bboxes),
                **self.added_losses(preds, matches, gt),
            )
            if self.edge_losses:
                losses |= self._edge_losses(preds, '', learned, learned, gt, gt_bboxes)
            if not self.training or self.denoising is None:
                return losses, {}
            cls_logits, bbox_preds = (
                torch.cat((preds[f'dn_{name}'], preds[f'dn_pre_{name}'])) for name in ('cls_logits', 'bbox_preds')
            )
            num_layers, _, num_denoising = cls_logits.shape[:3]
            if not num_denoising:  # no image has an object
                return losses, dict.fromkeys(losses, cls_logits.sum((1, 2, 3)))
            own = self._denoising_matches(matches, gt, num_layers, num_denoising)
            denoising = self.matched_losses(cls_logits, bbox_preds, own, gt, gt_bboxes)
            if self.edge_losses:
                denoising |= self._edge_losses(preds, 'dn_', own, learned, gt, gt_bboxes)
            return losses, {**denoising, **self.added_denoising_losses(preds, own, gt)}

    def edge_targets(self, bboxes: Tensor, targets: Tensor, shapes: Tensor) -> Tensor:
        """Return where between the bins the targets' edges are, ``(N, 4)``; the arguments are those of ``overlaps``."""
        return self.decoder.bin_scale.bins(bboxes, cxcywh_to_xyxy(targets))

    def _edge_losses(
        self,
        preds: dict[str, Tensor],
        prefix: str,
        matches: Matches,
        main: Matches,
        gt: GtBatch,
        gt_bboxes: Tensor,
    ) -> dict[str, Tensor]:
        """Return ``loss_dfl`` and ``loss_distill`` of every layer, each ``(L,)``.

        Args:
            preds: the output of ``forward``.
            prefix: 'dn_' for the denoising queries, otherwise ''.
            matches: of those queries.
            main: of the queries that are not for denoising, whose numbers with and without an object weigh the two
                parts of the distillation.
            gt: the ground truth.
            gt_bboxes: ``(B, M, 4)`` cxcywh relative to the image.
        """
        edge_logits, bbox_preds = preds[f'{prefix}edge_logits'], preds[f'{prefix}bbox_preds'].detach()
        targets, shapes = matched_targets(matches, gt, gt_bboxes)
        with torch.no_grad():
            initial = matches.gather(preds[f'{prefix}pre_bbox_preds'], 0)
            bins = self.edge_targets(initial, targets, shapes)
            teacher_scores = preds[f'{prefix}cls_logits'][-1].sigmoid().amax(-1).flatten()  # (B * Q,)
            num_matched = main.weight[0].sum()
            num_others = preds['cls_logits'][0, :, :, 0].numel() - num_matched
            counts = torch.stack((num_matched, num_others))
            roots = shared_divisor(counts, counts, torch.finfo(counts.dtype).tiny).sqrt()
            share = roots[0] / roots.sum()
            weight = matches.weight[: len(edge_logits)].to(teacher_scores.dtype)  # (L, N)
            is_matched = teacher_scores.new_zeros(len(weight), len(teacher_scores))  # (L, B * Q)
            is_matched.scatter_add_(1, matches.query_idx[: len(weight)], weight)
            others = (1 - is_matched).clamp(min=0)
            totals = shared_divisor(torch.stack((is_matched.sum(1), others.sum(1)), dim=1), others)  # (L, 2)
        losses: dict[str, list[Tensor]] = dict(loss_dfl=[], loss_distill=[])
        for layer, (weight, total) in enumerate(zip(matches.weight[: len(edge_logits)], totals, strict=True)):
            query_idx = matches.query_idx[layer]
            overlaps = self.overlaps(matches.gather(bbox_preds, layer), targets, shapes)
            own = edge_logits[layer].flatten(0, 1)  # (B * Q, 4, bins)
            dfl = self.loss_dfl(own.index_select(0, query_idx), bins, overlaps * weight, matches.avg_factor)
            losses['loss_dfl'].append(dfl)
            # Queries with an object count by their overlap with it, the others by the teacher's score.
            quality = torch.zeros_like(teacher_scores).scatter_add_(0, query_idx, overlaps * weight)
            weights = quality * share / total[0]
            weights = weights + others[layer] * teacher_scores * (1 - share) / total[1]
            teacher = edge_logits[-1].flatten(0, 1)
            losses['loss_distill'].append(self.loss_distill(own, teacher, weights, 1.0))
        return {name: torch.stack(values) for name, values in losses.items()}


def union_of_layers(matches: Matches, gt: GtBatch, num_queries: int) -> Matches:
    """Return the matches of all layers together: each query with the object that most layers match it with.

    Of several such objects the first counts. All Q queries of all images are returned, those without an object with
    weight 0, so that nothing waits for their number.

    Args:
        matches: of L layers.
        gt: the ground truth.
        num_queries: Q.
    """
    most = gt.max_instances
    if not most:  # other processes may have objects, and wait for this one's number
        return matches._replace(avg_factor=shared_divisor(matches.weight.sum(), gt.bboxes))
    total = gt.batch_size * num_queries
    pairs = matches.query_idx * most + matches.object_idx.remainder(most)  # (L, N)
    counts = matches.weight.new_zeros(total * most).scatter_add_(0, pairs.flatten(), matches.weight.flatten())
    counts = counts.view(total, most)
    ranks = counts * (most + 1) - torch.arange(most, device=counts.device)  # no two alike in a row
    query_idx = torch.arange(total, device=counts.device)
    object_idx = query_idx.div(num_queries, rounding_mode='floor') * most + ranks.argmax(1)
    weight = (counts.amax(1) > 0).to(counts.dtype)
    layers = len(matches.weight)
    return Matches(
        object_idx,
        query_idx.expand(layers, -1),
        weight.expand(layers, -1),
        shared_divisor(weight.sum(), gt.bboxes),
    )
