"""``RFDETRHead``: predicts a set of objects from learnt queries at boxes that the feature maps propose, in groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from detkit.protocols import QualityClassLoss, QueryDecoder
from detkit.registry import ASSIGNERS, CODERS, HEADS, LAYERS, LOSSES
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import AssignResult, Candidates
from detkit.utils.errors import ConfigError
from detkit.utils.ranks import shared_divisor

from ..layers import ConvModule
from ..layers.group_selection import GroupSelection, SelectedCells
from ..layers.linear import Linear
from ..layers.lite_decoder import change_boxes
from ..layers.plain_layers import rows_of_table
from ..layers.precision import full_precision
from ..layers.query_selection import at_most, cell_anchors, init_class_layer
from ..layers.turned_boxes import box_dims
from .query_head import FOCAL_MATCHING, Matches, QueryHead, image_of, stack_costs

# B images of at most M objects, N objects in all, S cells of all maps, G groups of Q queries, L decoder layers.


@HEADS.register_module()
class RFDETRHead(QueryHead):
    """Head that predicts a set of objects (LW-DETR, arXiv:2406.03459; RF-DETR, arXiv:2511.09554).

    ::

        feats ── cells ─┬─ selection of a group ── boxes of Q cells ── + learnt change ─┐
                        └──────────────────────────────── learnt queries of the group ──┴ decoder ─┬─ linear ── classes
                                                                                                   └─ boxes

    Training has G groups of queries, each with a selection of its own, which do not attend to each other and are
    matched to the objects one by one, so that an object has G queries to learn it (Group DETR, arXiv:2207.13085);
    otherwise there is the first group alone. A matched query's logit of the class learns a mixture of its own
    probability and the IoU of its box.

    Boxes are relative to the images of the batch, padding included, so that images of a batch should have one size.

    Args:
        num_classes: number of classes.
        in_channels, strides: those of the feature maps, fine to coarse; wired from the component before.
        num_queries: Q, the greatest number of objects that can be detected in an image; fewer where there are fewer
            cells.
        num_groups: G.
        decoder, assigner, bbox_coder, loss_cls, loss_bbox, loss_iou: configs of the parts; ``default_parts`` when left
            out. The decoder's ``num_levels`` is the number of maps. ``loss_bbox`` compares boxes as cxcywh,
            ``loss_iou`` as xyxy, both relative to the image.
        test_cfg: ``score_thr`` (0), ``max_per_img`` (300), of all queries with all classes; ``classes`` (labels to
            keep, None for all). Tools may change it between calls; entries that concern suppression are ignored.
        init_cfg: mmengine's initialisation config.
    """

    takes = {'decoder': QueryDecoder, 'loss_cls': QualityClassLoss, **QueryHead.takes}
    default_parts = {
        'decoder': dict(type='LiteDecoder'),
        'assigner': FOCAL_MATCHING,
        'loss_cls': dict(type='IoUAwareBCELoss'),
        **QueryHead.default_parts,
    }
    query_tables = {'query_embed': 'selections', 'bbox_embed': 'selections'}
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
        num_groups: int = 13,
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
        if min(num_classes, num_queries, num_groups) < 1:
            raise ConfigError(
                f'{type(self).__name__}: num_classes, num_queries and num_groups must be at least 1, found '
                f'{num_classes}, {num_queries} and {num_groups}'
            )
        self.num_classes = num_classes
        self.in_channels = tuple(in_channels)
        self.strides = tuple(strides)
        self.num_queries = num_queries
        self.num_groups = num_groups
        decoder = {'num_levels': len(self.in_channels), **(decoder or self.default_parts['decoder'])}
        if self.rotated:
            decoder['rotated'] = True
        self.decoder = self.build_part(LAYERS, 'decoder', decoder)
        dims = self.decoder.embed_dims
        self.in_convs = nn.ModuleList(
            nn.Identity() if channels == dims else ConvModule(channels, dims, 1, act=None, norm='LN')
            for channels in self.in_channels
        )
        self.selections = nn.ModuleList(
            GroupSelection(num_classes, dims, rotated=self.rotated) for _ in range(num_groups)
        )
        self.query_embed = nn.Embedding(num_groups * num_queries, dims)
        self.bbox_embed = nn.Embedding(num_groups * num_queries, box_dims(self.rotated))
        self.fc_cls = Linear(dims, num_classes)
        nn.init.zeros_(self.bbox_embed.weight)
        init_class_layer(self.fc_cls)
        self.assigner = self.build_part(ASSIGNERS, 'assigner', assigner)
        self.bbox_coder = self.build_part(CODERS, 'bbox_coder', bbox_coder)
        self.loss_cls = self.build_part(LOSSES, 'loss_cls', loss_cls, num_classes)
        self.loss_bbox = self.build_part(LOSSES, 'loss_bbox', loss_bbox)
        self.loss_iou = self.build_part(LOSSES, 'loss_iou', loss_iou)
        self.test_cfg = self.checked_test_cfg(test_cfg)

    @property
    def active_groups(self) -> int:
        """The number of groups that the current mode has."""
        return self.num_groups if self.training else 1

    def forward(self, feats: Sequence[Tensor], padding_mask: Tensor | None = None) -> dict[str, Tensor]:
        """Return the predictions of the selection and of every decoder layer, of which the last are the result.

        Args:
            feats: feature maps ``(B, in_channels[i], h_i, w_i)``, fine to coarse.
            padding_mask: is ignored.

        Returns:
            ``cls_logits (L, B, G * Q, num_classes)``; ``bbox_preds (L, B, G * Q, 4)``, cxcywh relative to the padded
            image, with G = 1 unless in training; ``enc_cls_logits (B, G * Q, num_classes)`` and ``enc_bbox_preds
            (B, G * Q, 4)`` of the selections; ``img_shapes (B, 2)``, the (h, w) that boxes are relative to.
        """
        sizes = [tuple(feat.shape[-2:]) for feat in feats]
        maps = [conv(feat) for conv, feat in zip(self.in_convs, feats, strict=True)]
        memory = torch.cat([feat.flatten(2).transpose(1, 2) for feat in maps], dim=1)  # (B, S, C)
        selected = self._select(memory, sizes)
        count = selected.content.shape[1] // self.active_groups
        embeds = [
            rows_of_table(table, self.active_groups * self.num_queries)
            .unflatten(0, (self.active_groups, self.num_queries))[:, :count]
            .flatten(0, 1)
            for table in (self.query_embed, self.bbox_embed)
        ]
        content, change = (embed.expand(memory.shape[0], -1, -1) for embed in embeds)  # (B, G * Q, C or 4)
        bboxes = change_boxes(selected.bbox_preds.detach(), change.to(selected.bbox_preds.dtype))
        queries, bbox_preds = self.decoder(content, bboxes, memory, sizes, num_groups=self.active_groups)
        with full_precision(queries):
            cls_logits = self.fc_cls(queries.to(bbox_preds.dtype))
        preds = dict(
            cls_logits=cls_logits,
            bbox_preds=bbox_preds,
            enc_cls_logits=selected.cls_logits,
            enc_bbox_preds=selected.bbox_preds,
            img_shapes=self.padded_shapes(feats[0]),
        )
        return self.extend(preds, maps[0], selected.content, queries)

    def _select(self, memory: Tensor, sizes: Sequence[tuple[int, int]]) -> SelectedCells:
        """Return the cells that all active groups select, one group after the other."""
        anchors, usable = cell_anchors(sizes, memory)
        memory, anchors = memory * usable, anchors * usable
        count = at_most(self.num_queries, memory.shape[1])
        parts = [selection(memory, anchors, usable, count) for selection in self.selections[: self.active_groups]]
        return SelectedCells(*(torch.cat(own, dim=1) for own in zip(*parts, strict=True)))

    def query_scores(self, preds: dict[str, Tensor]) -> Tensor | None:
        """Return the scores ``(B, Q)`` of the selected cells, see ``BaseHead``; None where every cell is a query."""
        logits = preds['enc_cls_logits']
        return None if logits.shape[1] < self.num_queries else logits.amax(-1).sigmoid()

    @contextmanager
    def selecting_in(self, order: Tensor | None) -> Iterator[None]:
        """Let the cells become queries in another order, see ``BaseHead``: each rank has an embedding of its own."""
        self.selections[0].order = order
        try:
            yield
        finally:
            self.selections[0].order = None

    def loss(self, preds: dict[str, Tensor], gt: GtBatch) -> dict[str, Tensor]:
        """Return ``loss_cls``, ``loss_box`` (L1), ``loss_giou`` of the last layer, and sums of the others.

        These are ``loss_aux`` of all layers before the last, and ``loss_enc`` of the selection.
        """
        layers = self.layer_losses(preds, gt)
        losses = {name: values[-2] for name, values in layers.items()}
        losses['loss_aux'] = sum(values[:-2].sum() for values in layers.values())
        losses['loss_enc'] = sum(values[-1] for values in layers.values())
        return losses

    def layer_losses(self, preds: dict[str, Tensor], gt: GtBatch) -> dict[str, Tensor]:
        """Return the losses ``loss_cls``, ``loss_box`` and ``loss_giou``, each ``(L + 1,)``, the selection's last."""
        with torch.autocast(preds['cls_logits'].device.type, enabled=False):
            gt = replace(gt, img_shapes=preds['img_shapes'])
            # The selection as one more layer, so that a GPU waits once for all assignments.
            cls_logits = torch.cat((preds['cls_logits'], preds['enc_cls_logits'].unsqueeze(0)))
            bbox_preds = torch.cat((preds['bbox_preds'], preds['enc_bbox_preds'].unsqueeze(0)))
            gt_bboxes = self.encode_bboxes(gt, bbox_preds.dtype)
            matches = self.find_group_matches(cls_logits, bbox_preds, gt, stack_costs(self.added_costs(preds, gt)))
            losses = self.matched_losses(cls_logits, bbox_preds, matches, gt, gt_bboxes)
            return {**losses, **self.added_losses(preds, matches, gt)}

    def find_group_matches(
        self, cls_logits: Tensor, bbox_preds: Tensor, gt: GtBatch, costs: Tensor | None = None
    ) -> Matches:
        """Match each group of queries to the objects, and return the matches of all: N objects times G groups.

        Args:
            cls_logits: ``(L, B, G * Q, num_classes)``.
            bbox_preds: ``(L, B, G * Q, 4)``.
            costs: ``(L, B, G * Q, M)``, what is added to the costs of pairs.
        """
        groups, total = self.active_groups, bbox_preds.shape[2]
        # (L, B, G * Q, ...) -> (L, G, B, Q, ...)
        given = (cls_logits, bbox_preds) if costs is None else (cls_logits, bbox_preds, costs)
        grouped = (preds.unflatten(2, (groups, -1)).transpose(1, 2) for preds in given)
        assigned: AssignResult = self.assigner(Candidates(*grouped), None, gt)
        object_idx = gt.flat_index
        # (L, G, B, M, 1) -> (L, G, N)
        queries, matched = (
            slots.flatten(2).index_select(2, object_idx) for slots in (assigned.prior_idx, assigned.valid)
        )
        first = torch.arange(groups, device=queries.device) * (total // groups)  # (G,)
        query_idx = image_of(object_idx, gt) * total + first.unsqueeze(1) + queries
        return Matches(
            object_idx.repeat(groups),
            query_idx.flatten(1),  # (L, G, N) -> (L, G * N)
            matched.flatten(1).to(torch.float32),
            shared_divisor(float(gt.num_instances * groups), gt.bboxes),
        )

    def decode(self, preds: dict[str, Tensor], img_shapes: Tensor | None = None) -> dict[str, Tensor]:
        """Return the first group's ``bboxes (B, Q, 4)``, xyxy in pixels of the input, and ``scores (B, Q, C)``.

        Args:
            preds: the output of ``forward``.
            img_shapes: is ignored, as boxes are relative to the padded image.
        """
        count = preds['cls_logits'].shape[2] // self.active_groups
        bboxes = self.bbox_coder.decode(preds['bbox_preds'][-1, :, :count], preds['img_shapes'])
        return dict([(self.BBOXES, bboxes)], scores=preds['cls_logits'][-1, :, :count].sigmoid())
