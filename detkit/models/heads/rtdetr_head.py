"""``RTDETRHead``: predicts a set of objects from queries that the feature maps select."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from detkit.protocols import QualityClassLoss, QueryDecoder
from detkit.registry import ASSIGNERS, CODERS, HEADS, LAYERS, LOSSES
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import Candidates
from detkit.utils.errors import ConfigError

from ..layers import Activation, ConvModule
from ..layers.denoising import ContrastiveDenoising, DenoisingQueries, denoising_mask
from ..layers.precision import full_precision
from ..layers.query_selection import QuerySelection, SelectedQueries, init_class_layer
from .query_head import FOCAL_MATCHING, Matches, QueryHead, find_matches, image_of, stack_costs

# B images of at most M objects, N objects in all, S cells of all maps, Q queries, D for denoising, L decoder layers.


@HEADS.register_module()
class RTDETRHead(QueryHead):
    """Head that predicts a set of objects (RT-DETR, arXiv:2304.08069; version 2, arXiv:2407.17140).

    ::

        feats ── 1x1 ── cells ─┬─ selection ── Q cells, their boxes ─┐
                               └─────────────────────────────────────┴ decoder ─┬─ linear ── class logits
                               in training: objects with noise, D ───┘          └─ boxes, refined by every layer

    Objects of an image are matched to queries one to one, for every decoder layer and for the selection; the matched
    query's logit of the class learns the IoU of its box, all others learn 0. Denoising queries need no matching: each
    positive one learns the object that it was made of.

    Boxes are relative to the images of the batch, padding included, so that images of a batch should have one size.

    Args:
        num_classes: number of classes.
        in_channels, strides: those of the feature maps, fine to coarse; wired from the component before.
        num_queries: Q, the greatest number of objects that can be detected in an image; fewer where there are fewer
            cells.
        num_denoising: about how many positive denoising queries an image has in training; 0 for none.
        label_noise, box_noise: see ``ContrastiveDenoising``.
        act: activation of the MLPs that are not the decoder's, see ``ConvModule``.
        project_cells: whether a linear layer and a normalisation precede the selection, see ``QuerySelection``.
        decoder, assigner, bbox_coder, loss_cls, loss_bbox, loss_iou: configs of the parts; ``default_parts`` when left
            out. The decoder's ``num_levels`` is the number of maps. ``loss_bbox`` compares boxes as cxcywh,
            ``loss_iou`` as xyxy, both relative to the image.
        test_cfg: ``score_thr`` (0), ``max_per_img`` (300), of all queries with all classes; ``classes`` (labels to
            keep, None for all). Tools may change it between calls; entries that concern suppression are ignored.
        init_cfg: mmengine's initialisation config.
    """

    takes = {'decoder': QueryDecoder, 'loss_cls': QualityClassLoss, **QueryHead.takes}
    default_parts = {
        'decoder': dict(type='DeformableDecoder'),
        'assigner': FOCAL_MATCHING,
        'loss_cls': dict(type='VarifocalLoss'),
        **QueryHead.default_parts,
    }
    class_rows = {'denoising.class_embed': (1, 0, 1)}
    needs_gt = True
    has_whole_cells = True
    SELECTS = True
    MULTI_LABEL = True
    MAX_PER_IMG = 300

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        num_queries: int = 300,
        num_denoising: int = 100,
        label_noise: float = 0.5,
        box_noise: float = 1.0,
        act: Activation = 'ReLU',
        project_cells: bool = True,
        decoder: dict | None = None,
        assigner: dict | None = None,
        bbox_coder: dict | None = None,
        loss_cls: dict | None = None,
        loss_bbox: dict | None = None,
        loss_iou: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.require(in_channels=in_channels, strides=strides)
        if num_classes < 1 or num_queries < 1 or num_denoising < 0:
            raise ConfigError(
                f'{type(self).__name__}: num_classes and num_queries must be at least 1 and num_denoising at least 0, '
                f'found {num_classes}, {num_queries} and {num_denoising}'
            )
        self.num_classes = num_classes
        self.num_queries = num_queries
        self.in_channels = tuple(in_channels)
        self.strides = tuple(strides)
        decoder = {'num_levels': len(self.in_channels), **(decoder or self.default_parts['decoder'])}
        if self.rotated:
            decoder['rotated'] = True
        self.decoder = self.build_part(LAYERS, 'decoder', decoder)
        dims = self.decoder.embed_dims
        self.in_convs = nn.ModuleList(ConvModule(channels, dims, 1, act=None) for channels in self.in_channels)
        self.selection = QuerySelection(
            num_classes, dims, num_queries, act=act, project=project_cells, rotated=self.rotated
        )
        self.fc_cls = nn.ModuleList(nn.Linear(dims, num_classes) for _ in range(self.decoder.num_layers))
        for layer in self.fc_cls:
            init_class_layer(layer)
        self.denoising = (
            ContrastiveDenoising(num_classes, dims, num_denoising, label_noise, box_noise) if num_denoising else None
        )
        # There are denoising queries of the padding, too, and the larger it is, the fewer groups.
        self.needs_gt = self.pads_gt = self.denoising is not None
        self.assigner = self.build_part(ASSIGNERS, 'assigner', assigner)
        self.bbox_coder = self.build_part(CODERS, 'bbox_coder', bbox_coder)
        self.loss_cls = self.build_part(LOSSES, 'loss_cls', loss_cls, num_classes)
        self.loss_bbox = self.build_part(LOSSES, 'loss_bbox', loss_bbox)
        self.loss_iou = self.build_part(LOSSES, 'loss_iou', loss_iou)
        self.test_cfg = self.checked_test_cfg(test_cfg)

    def forward(
        self, feats: Sequence[Tensor], padding_mask: Tensor | None = None, gt: GtBatch | None = None
    ) -> dict[str, Tensor]:
        """Return the predictions of the selection and of every decoder layer, of which the last are the result.

        Args:
            feats: feature maps ``(B, in_channels[i], h_i, w_i)``, fine to coarse.
            padding_mask: is ignored.
            gt: the objects of which denoising queries are made, in training only.

        Returns:
            ``cls_logits (L, B, Q, num_classes)``; ``bbox_preds (L, B, Q, 4)``, cxcywh relative to the padded image;
            ``enc_cls_logits (B, Q, num_classes)`` and ``enc_bbox_preds (B, Q, 4)`` of the selection; ``dn_cls_logits``
            and ``dn_bbox_preds`` of the denoising queries, as those of the others, with D = 0 where there are none;
            ``img_shapes (B, 2)``, the (h, w) that boxes are relative to.
        """
        sizes = [tuple(feat.shape[-2:]) for feat in feats]
        maps = [conv(feat) for conv, feat in zip(self.in_convs, feats, strict=True)]
        memory = torch.cat([feat.flatten(2).transpose(1, 2) for feat in maps], dim=1)  # (B, S, C)
        selected = self.selection(memory, sizes)
        img_shapes = self.padded_shapes(feats[0])
        content, bboxes, query_mask, num_denoising = selected.content.detach(), selected.bbox_preds.detach(), None, 0
        if self.training and gt is not None and self.denoising is not None:
            noisy = self._denoising_queries(replace(gt, img_shapes=img_shapes), selected)
            num_denoising = noisy.content.shape[1]
            content = torch.cat((noisy.content, content), dim=1)
            bboxes = torch.cat((noisy.bboxes, bboxes), dim=1)
            query_mask = denoising_mask(num_denoising, selected.content.shape[1], 2 * gt.max_instances, content.device)
        decoded = self.decoder(content, bboxes, memory, sizes, query_mask)
        layered = self._predictions(decoded)
        preds = dict(
            **{name: value[:, :, num_denoising:] for name, value in layered.items()},
            enc_cls_logits=selected.cls_logits,
            enc_bbox_preds=selected.bbox_preds,
            **{f'dn_{name}': value[:, :, :num_denoising] for name, value in layered.items()},
            img_shapes=img_shapes,
        )
        return self.extend(preds, maps[0], selected.content, decoded[0], num_denoising)

    def _predictions(self, decoded: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Return what every layer predicts for every query, ``(L, B, D + Q, …)``, by the keys of ``forward``."""
        queries, bbox_preds = decoded
        with full_precision(queries):
            queries = queries.to(bbox_preds.dtype)
            cls_logits = torch.stack([fc_cls(own) for fc_cls, own in zip(self.fc_cls, queries, strict=False)])
        return dict(cls_logits=cls_logits, bbox_preds=bbox_preds)

    def _denoising_queries(self, gt: GtBatch, selected: SelectedQueries) -> DenoisingQueries:
        gt_bboxes = self.encode_bboxes(gt, selected.bbox_preds.dtype)
        return self.denoising(gt.labels, gt_bboxes, gt.valid, gt.img_shapes)

    def query_scores(self, preds: dict[str, Tensor]) -> Tensor | None:
        """Return the scores ``(B, Q)`` of the selected cells, see ``BaseHead``; None where every cell is a query."""
        logits = preds['enc_cls_logits']
        return None if logits.shape[1] < self.num_queries else logits.amax(-1).sigmoid()

    def loss(self, preds: dict[str, Tensor], gt: GtBatch) -> dict[str, Tensor]:
        """Return ``loss_cls``, ``loss_box`` (L1), ``loss_giou`` of the last layer, and sums of the others.

        These are ``loss_aux`` of all layers before the last, ``loss_enc`` of the selection and, in training,
        ``loss_dn`` of the denoising queries in all layers.
        """
        layers, denoising = self.layer_losses(preds, gt)
        losses = {name: values[-2] for name, values in layers.items()}
        losses['loss_aux'] = sum(values[:-2].sum() for values in layers.values())
        losses['loss_enc'] = sum(values[-1] for values in layers.values())
        if denoising:
            losses['loss_dn'] = sum(values.sum() for values in denoising.values())
        return losses

    def layer_losses(self, preds: dict[str, Tensor], gt: GtBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the losses of every decoder layer.

        Returns:
            The losses ``loss_cls``, ``loss_box`` and ``loss_giou`` of the matched queries, each ``(L + 1,)``, that of
            the selection at the end; and those of the denoising queries, each ``(L,)``, or an empty dict in
            evaluation and without denoising.
        """
        with torch.autocast(preds['cls_logits'].device.type, enabled=False):
            gt = replace(gt, img_shapes=preds['img_shapes'])
            # The selection as one more layer, so that a GPU waits once for all assignments.
            cls_logits = torch.cat((preds['cls_logits'], preds['enc_cls_logits'].unsqueeze(0)))
            bbox_preds = torch.cat((preds['bbox_preds'], preds['enc_bbox_preds'].unsqueeze(0)))
            gt_bboxes = self.encode_bboxes(gt, bbox_preds.dtype)
            costs = stack_costs(self.added_costs(preds, gt))
            assigned = self.assigner(Candidates(cls_logits, bbox_preds, costs), None, gt)
            matches = find_matches(assigned, gt, bbox_preds.shape[2])
            losses = self.matched_losses(cls_logits, bbox_preds, matches, gt, gt_bboxes)
            losses.update(self.added_losses(preds, matches, gt))
            if not self.training or self.denoising is None:
                return losses, {}
            dn_logits, dn_bboxes = preds['dn_cls_logits'], preds['dn_bbox_preds']
            num_layers, _, num_denoising = dn_logits.shape[:3]
            if not num_denoising:  # no image has an object
                return losses, dict.fromkeys(losses, dn_logits.sum((1, 2, 3)))
            dn_matches = self._denoising_matches(matches, gt, num_layers, num_denoising)
            denoising = self.matched_losses(dn_logits, dn_bboxes, dn_matches, gt, gt_bboxes)
            return losses, {**denoising, **self.added_denoising_losses(preds, dn_matches, gt)}

    def _denoising_matches(self, matches: Matches, gt: GtBatch, num_layers: int, num_denoising: int) -> Matches:
        """Return the objects that positive denoising queries were made of, as matches: N objects times G groups."""
        groups = self.denoising.num_groups(gt.max_instances)
        object_idx = matches.object_idx
        first = image_of(object_idx, gt) * num_denoising + object_idx.remainder(max(gt.max_instances, 1))  # (N,)
        steps = torch.arange(groups, device=first.device) * 2 * gt.max_instances
        query_idx = (steps.unsqueeze(1) + first).flatten()  # (G, N) -> (G * N,)
        weight = torch.ones_like(query_idx, dtype=matches.weight.dtype)
        return Matches(
            object_idx.repeat(groups),
            query_idx.expand(num_layers, -1),
            weight.expand(num_layers, -1),
            matches.avg_factor * groups,
        )

    def decode(self, preds: dict[str, Tensor], img_shapes: Tensor | None = None) -> dict[str, Tensor]:
        """Return the last layer's ``bboxes (B, Q, 4)``, xyxy in pixels of the input, and ``scores (B, Q, C)``.

        Args:
            preds: the output of ``forward``.
            img_shapes: is ignored, as boxes are relative to the padded image.
        """
        bboxes = self.bbox_coder.decode(preds['bbox_preds'][-1], preds['img_shapes'])
        return dict([(self.BBOXES, bboxes)], scores=preds['cls_logits'][-1].sigmoid())
