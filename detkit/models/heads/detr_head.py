"""``DETRHead``: predicts a set of objects from queries, without anchors and without suppression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.protocols import ClassLoss, PositionEncoding, Transformer
from detkit.registry import ASSIGNERS, CODERS, HEADS, LAYERS, LOSSES
from detkit.structures.gt_batch import GtBatch
from detkit.structures.targets import Candidates
from detkit.utils.errors import ConfigError

from ..layers.mlp import PreciseMLP
from ..layers.plain_layers import rows_of_table
from ..layers.precision import full_precision, type_of_weights
from .base_head import widened
from .query_head import Matches, QueryHead, find_matches

# B images, h x w cells of the coarsest map, C channels of the transformer, Q queries, L decoder layers.

# The predictions that every decoder layer makes.
_LAYERED = ('cls_logits', 'bbox_preds')


class Encoded(NamedTuple):
    """Output of the transformer.

    Attributes:
        projected: ``(B, C, h, w)``, the coarsest map as it enters the transformer.
        memory: ``(B, C, h, w)``, the encoder's output.
        decoded: ``(L, B, Q, C)``, every decoder layer's output.
        padding_mask: ``(B, h, w)`` bool, True where padded; None without padding.
    """

    projected: Tensor
    memory: Tensor
    decoded: Tensor
    padding_mask: Tensor | None


@HEADS.register_module()
class DETRHead(QueryHead):
    """Head that predicts a set of objects (DETR, arXiv:2005.12872).

    ::

        feats[-1] ── 1x1 ── encoder ── memory ── decoder ─┬─ linear ── class logits, the last for 'no object'
                      + positions        queries ──┘      └─ MLP, sigmoid ── boxes

    Objects of an image are matched to queries one to one; a query without an object learns the class 'no object'. Every
    decoder layer is matched and trained in the same way, with the same linear layer and MLP.

    Args:
        num_classes: classes of objects, without 'no object'.
        in_channels: channels of the feature maps, fine to coarse, of which the last is read; wired from the component
            before.
        num_queries: Q, the greatest number of objects that can be detected in an image.
        transformer, position_encoding: configs; ``default_parts`` when left out. The encoding's ``embed_dims`` is the
            transformer's.
        num_bbox_layers: linear layers of the MLP.
        assigner, bbox_coder, loss_cls, loss_bbox, loss_iou: configs of the parts; ``default_parts`` when left out.
            ``loss_bbox`` compares boxes as cxcywh, ``loss_iou`` as xyxy, both relative to the image.
        test_cfg: ``score_thr`` (0), ``max_per_img`` (100), ``classes`` (labels to keep, None for all). Tools may change
            it between calls; entries that concern suppression are ignored.
        init_cfg: mmengine's initialisation config.
    """

    takes = {
        'transformer': Transformer,
        'position_encoding': PositionEncoding,
        'loss_cls': ClassLoss,
        **QueryHead.takes,
    }
    default_parts = {
        'transformer': dict(type='DETRTransformer'),
        'position_encoding': dict(type='SinePositionEncoding'),
        'assigner': dict(type='HungarianAssigner'),
        'loss_cls': dict(type='CrossEntropyLoss', last_class_weight=0.1),
        **QueryHead.default_parts,
    }
    class_rows = {'fc_cls': (1, 0, 1)}
    query_tables = {'query_embed': None}

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] | None = None,
        num_queries: int = 100,
        transformer: dict | None = None,
        position_encoding: dict | None = None,
        num_bbox_layers: int = 3,
        assigner: dict | None = None,
        bbox_coder: dict | None = None,
        loss_cls: dict | None = None,
        loss_bbox: dict | None = None,
        loss_iou: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.require(in_channels=in_channels)
        if num_classes < 1 or num_queries < 1:
            raise ConfigError(
                f'{type(self).__name__}: num_classes and num_queries must be at least 1, found '
                f'{num_classes} and {num_queries}'
            )
        self.num_classes = num_classes
        self.in_channels = tuple(in_channels)
        self.num_queries = num_queries
        self.transformer = self.build_part(LAYERS, 'transformer', transformer)
        self.embed_dims = self.transformer.embed_dims
        position_encoding = position_encoding or self.default_parts['position_encoding']
        position_encoding = {'embed_dims': self.embed_dims, **position_encoding}
        self.position_encoding = self.build_part(LAYERS, 'position_encoding', position_encoding)
        if self.position_encoding.embed_dims != self.embed_dims:
            raise ConfigError(
                f'{type(self).__name__}: position_encoding.embed_dims is '
                f'{self.position_encoding.embed_dims}, but the transformer has {self.embed_dims}; leave '
                'it out to have it filled in'
            )
        self.input_proj = nn.Conv2d(self.in_channels[-1], self.embed_dims, 1)
        self.query_embed = nn.Embedding(num_queries, self.embed_dims)
        self.fc_cls = nn.Linear(self.embed_dims, num_classes + 1)
        self.bbox_mlp = PreciseMLP(self.embed_dims, self.embed_dims, 4, num_bbox_layers)
        self.assigner = self.build_part(ASSIGNERS, 'assigner', assigner)
        self.bbox_coder = self.build_part(CODERS, 'bbox_coder', bbox_coder)
        self.loss_cls = self.build_part(LOSSES, 'loss_cls', loss_cls, num_classes + 1)
        self.loss_bbox = self.build_part(LOSSES, 'loss_bbox', loss_bbox)
        self.loss_iou = self.build_part(LOSSES, 'loss_iou', loss_iou)
        self.test_cfg = self.checked_test_cfg(test_cfg)

    def forward(self, feats: Sequence[Tensor], padding_mask: Tensor | None = None) -> dict[str, Tensor]:
        """Return the predictions of every decoder layer, of which the last are the result.

        Args:
            feats: feature maps, fine to coarse; the last is ``(B, in_channels[-1], h, w)``.
            padding_mask: ``(B, H, W)`` bool of the images' pixels, True where padded; None where nothing is.

        Returns:
            ``cls_logits (L, B, Q, num_classes + 1)``; ``bbox_preds (L, B, Q, 4)``, cxcywh relative to the unpadded
            image.
        """
        return self._predictions(feats, self.encode(feats, padding_mask))

    def encode(self, feats: Sequence[Tensor], padding_mask: Tensor | None = None) -> Encoded:
        """Run the transformer; the arguments are those of ``forward``."""
        if padding_mask is not None:
            size = feats[-1].shape[-2:]
            padding_mask = F.interpolate(padding_mask[:, None].float(), size).squeeze(1) > 0  # (B, H, W) -> (B, h, w)
        projected = self.input_proj(feats[-1])
        positions = self.position_encoding(projected, padding_mask)
        memory, decoded = self.transformer(
            projected.flatten(2).transpose(1, 2),  # (B, C, h, w) -> (B, h * w, C)
            positions.flatten(2).transpose(1, 2),
            rows_of_table(self.query_embed, self.num_queries),
            None if padding_mask is None else padding_mask.flatten(1),
        )
        memory = memory.transpose(1, 2).reshape(projected.shape)  # (B, h * w, C) -> (B, C, h, w)
        return Encoded(projected, memory, decoded, padding_mask)

    def _predictions(self, feats: Sequence[Tensor], encoded: Encoded) -> dict[str, Tensor]:
        bbox_preds = self.bbox_mlp(encoded.decoded).sigmoid()
        with full_precision(encoded.decoded):
            decoded = encoded.decoded.to(type_of_weights(self.fc_cls))
            return dict(cls_logits=self.fc_cls(decoded), bbox_preds=bbox_preds)

    def loss(self, preds: dict[str, Tensor], gt: GtBatch) -> dict[str, Tensor]:
        """Return ``loss_cls``, ``loss_box`` (L1), ``loss_giou`` of the last layer, and ``loss_aux``.

        ``loss_aux`` is the sum of the losses of all layers before the last, if there are any.
        """
        layers = self.layer_losses(preds, gt)
        losses = {name: values[-1] for name, values in layers.items()}
        if len(preds['cls_logits']) > 1:
            losses['loss_aux'] = sum(values[:-1].sum() for values in layers.values() if len(values) > 1)
        return losses

    def layer_losses(self, preds: dict[str, Tensor], gt: GtBatch) -> dict[str, Tensor]:
        """Return the losses of ``loss``, each ``(L,)``, a number for every decoder layer."""
        with torch.autocast(preds['cls_logits'].device.type, enabled=False):
            preds = {**preds, **{name: widened(preds[name]) for name in _LAYERED}}
            gt_bboxes = self.bbox_coder.encode(gt.bboxes.to(preds['bbox_preds'].dtype), gt.img_shapes)
            assigned = self.assigner(Candidates(preds['cls_logits'], preds['bbox_preds']), None, gt)
            return self._losses(preds, find_matches(assigned, gt, self.num_queries), gt, gt_bboxes)

    def _losses(self, preds: dict[str, Tensor], matches: Matches, gt: GtBatch, gt_bboxes: Tensor) -> dict[str, Tensor]:
        """Return the losses of a given matching: for each a number for every layer that has it, in the order of layers.

        Args:
            gt_bboxes: ``(B, M, 4)`` cxcywh relative to the image.
        """
        loss_cls = [
            self.loss_cls(preds['cls_logits'][layer].flatten(0, 1), labels)
            for layer, labels in enumerate(self._query_labels(matches, gt))
        ]
        return dict(loss_cls=torch.stack(loss_cls), **self.box_losses(preds['bbox_preds'], matches, gt, gt_bboxes))

    def _query_labels(self, matches: Matches, gt: GtBatch) -> Tensor:
        """Return the class target of each query, ``(L, B * Q)``: ``num_classes`` for 'no object'."""
        layers, num_queries = len(matches.query_idx), gt.batch_size * self.num_queries
        labels = gt.labels.new_full((layers, num_queries + 1), self.num_classes)
        # Objects without a query are written to an extra column behind the last.
        query_idx = torch.where(matches.weight > 0, matches.query_idx, num_queries)
        object_labels = gt.labels.flatten().index_select(0, matches.object_idx)  # (N,)
        return labels.scatter_(1, query_idx, object_labels.expand(layers, -1))[:, :-1]

    def decode(self, preds: dict[str, Tensor], img_shapes: Tensor | None = None) -> dict[str, Tensor]:
        """Return the last layer's ``bboxes (B, Q, 4)``, xyxy in pixels of the input, and ``scores (B, Q, C)``.

        Args:
            preds: the output of ``forward``.
            img_shapes: ``(B, 2)`` (h, w) of the images before padding; must be given.
        """
        probs = widened(preds['cls_logits'][-1]).softmax(-1)  # (B, Q, C + 1)
        bboxes = self.bbox_coder.decode(widened(preds['bbox_preds'][-1]), img_shapes)
        return dict(bboxes=bboxes, scores=probs[..., :-1])
