"""``DETRSegmentHead``: predicts a mask for each of DETR's objects, and panoptic segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from detkit.protocols import PixelMaskLoss
from detkit.registry import HEADS, LOSSES
from detkit.structures.data_sample import DetDataSample
from detkit.structures.gt_batch import GtBatch
from detkit.structures.panoptic import PanopticSegments
from detkit.utils.errors import ConfigError

from ..layers import AttentionMaps, MaskDecoder
from ..postprocess.segment_merging import merge_segments
from .base_head import widened
from .detr_head import DETRHead, Encoded
from .mask_results import CHUNK, LazyMasks, MaskResults, object_masks, original_logits
from .query_head import Matches


@HEADS.register_module()
class DETRSegmentHead(MaskResults, DETRHead):
    """``DETRHead`` with a mask for each object (arXiv:2005.12872, section 4.4).

    ::

        decoded ─┐
        memory ──┴─ attention maps ─┬─ mask decoder ── mask logits, as fine as feats[0]
        projected map, finer feats ─┘

    Masks are computed from the output of ``forward`` only for the objects that need one: those that are matched in
    training and those that are reported in prediction. Boxes are learnt jointly, or are frozen (``train_cfg.freeze``):
    the parts that this class adds are ``mask_attention`` and ``mask_decoder``.

    Args:
        num_classes: number of classes of objects and, where the data have any, of stuff.
        in_channels, strides: those of the feature maps, fine to coarse, all of which are read; wired from the
            component before.
        stuff_labels: labels of which an image has one segment, such as the sky; wired from the dataset's ``metainfo``.
            Unless it is None, results also have ``pred_panoptic``.
        loss_mask, loss_dice: configs of the losses.
        **kwargs: arguments of ``DETRHead``. Its ``test_cfg`` also takes ``panoptic_score_thr`` (0.85): least score of a
            mask that becomes a segment; and ``panoptic_min_area`` (4): a segment has more pixels than this.
    """

    takes = {**DETRHead.takes, 'loss_mask': PixelMaskLoss, 'loss_dice': PixelMaskLoss}
    default_parts = {
        **DETRHead.default_parts,
        'loss_mask': dict(type='MaskFocalLoss'),
        'loss_dice': dict(type='MaskDiceLoss'),
    }
    provides = ('bbox', 'segm', 'panoptic')
    added_parts = ('mask_attention', 'mask_decoder')
    TEST_KEYS = (*DETRHead.TEST_KEYS, 'panoptic_score_thr', 'panoptic_min_area')

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        stuff_labels: Sequence[int] | None = None,
        loss_mask: dict | None = None,
        loss_dice: dict | None = None,
        **kwargs,
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        self.require(in_channels=in_channels, strides=strides)
        wrong = [label for label in stuff_labels or () if not 0 <= label < num_classes]
        if wrong:
            raise ConfigError(
                f'{type(self).__name__}: stuff_labels has {wrong[0]}, which is none of the labels '
                f'0 ... {num_classes - 1}'
                '; write the labels of those classes that are stuff'
            )
        self.strides = tuple(strides)
        self.stuff_labels = None if stuff_labels is None else tuple(stuff_labels)
        num_heads = self.transformer.num_heads
        self.mask_attention = AttentionMaps(self.embed_dims, num_heads)
        self.mask_decoder = MaskDecoder(self.embed_dims, num_heads, self.in_channels[-2::-1])
        self.loss_mask = self.build_part(LOSSES, 'loss_mask', loss_mask)
        self.loss_dice = self.build_part(LOSSES, 'loss_dice', loss_dice)

    def forward(self, feats: Sequence[Tensor], padding_mask: Tensor | None = None) -> dict[str, Tensor | list[Tensor]]:
        """Return the predictions of ``DETRHead`` and the inputs of the last layer's masks.

        These are ``mask_maps (B, Q, H, h, w)`` and ``mask_feats``, a list of ``(B, c, h_i, w_i)``, see ``MaskDecoder``.
        """
        return super().forward(feats, padding_mask)

    def _predictions(self, feats: Sequence[Tensor], encoded: Encoded) -> dict[str, Tensor | list[Tensor]]:
        preds = super()._predictions(feats, encoded)
        padding_mask = None if encoded.padding_mask is None else encoded.padding_mask.flatten(1)
        cells = encoded.memory.flatten(2).transpose(1, 2)  # (B, C, h, w) -> (B, h * w, C)
        maps = self.mask_attention(encoded.decoded[-1], cells, padding_mask)
        preds['mask_maps'] = maps.unflatten(-1, (encoded.memory.shape[-2], encoded.memory.shape[-1]))
        preds['mask_feats'] = self.mask_decoder.shared(encoded.projected, feats[-2::-1])
        return preds

    def mask_logits(self, preds: dict[str, Tensor | list[Tensor]], query_idx: Tensor) -> Tensor:
        """Return the mask logits of N queries, ``(N, h', w')``, as fine as the finest map.

        Args:
            preds: the output of ``forward``.
            query_idx: ``(N,)`` int64, indices in the flattened ``(B, Q)``.
        """
        maps, feats = preds['mask_maps'], preds['mask_feats']
        half = feats[0].dtype in (torch.float16, torch.bfloat16)  # the type in which forward was run
        with torch.autocast(maps.device.type, feats[0].dtype if half else None, enabled=half):
            maps = maps.flatten(0, 1).index_select(0, query_idx)
            logits = self.mask_decoder(feats, maps, query_idx.div(self.num_queries, rounding_mode='floor'))
        return logits.float() if half else logits

    def _losses(
        self, preds: dict[str, Tensor | list[Tensor]], matches: Matches, gt: GtBatch, gt_bboxes: Tensor
    ) -> dict[str, Tensor]:
        """Return the losses of ``DETRHead``, and ``loss_mask`` and ``loss_dice`` of the last layer only."""
        if gt.masks is None:
            raise ValueError(
                f'{type(self).__name__} learns masks, but the batch has none. Let the pipeline draw them '
                '(Render(with_masks=True)), or use DETRHead.'
            )
        losses = super()._losses(preds, matches, gt, gt_bboxes)
        logits = self.mask_logits(preds, matches.query_idx[-1])
        targets = object_masks(gt, matches.object_idx)
        logits = F.interpolate(logits.unsqueeze(1), targets.shape[-2:], mode='bilinear', align_corners=False)
        pixels, targets = logits.flatten(1), targets.flatten(1).to(logits.dtype)
        for name in ('loss_mask', 'loss_dice'):
            loss = getattr(self, name)(pixels, targets, matches.weight[-1], matches.avg_factor)
            losses[name] = loss.unsqueeze(0)
        return losses

    def decode(self, preds: dict[str, Tensor | list[Tensor]], img_shapes: Tensor | None = None) -> dict[str, Tensor]:
        """Return what ``DETRHead`` does, and ``mask_logits (B, Q, h', w')`` of every query.

        With ``stuff_labels`` there is also ``no_object_scores (B, Q)``.
        """
        maps = preds['mask_maps']
        query_idx = torch.arange(maps.shape[0] * self.num_queries, device=maps.device)
        mask_logits = self.mask_logits(preds, query_idx).unflatten(0, (-1, self.num_queries))
        return {**self.decode_objects(preds, img_shapes), 'mask_logits': mask_logits}

    def decode_objects(self, preds: dict[str, Tensor | list[Tensor]], img_shapes: Tensor | None) -> dict[str, Tensor]:
        """Return what ``decode`` does, without masks."""
        decoded = super().decode(preds, img_shapes)
        if self.stuff_labels is not None:
            decoded['no_object_scores'] = widened(preds['cls_logits'][-1]).softmax(-1)[..., -1]
        return decoded

    def masks_of(self, preds: dict[str, Any]) -> LazyMasks:
        """Return the masks of all queries, of which those that are asked for are computed."""
        shape = (*preds['mask_maps'].shape[:2], *preds['mask_feats'][-1].shape[-2:])
        return LazyMasks(lambda image, own: self.mask_logits(preds, own + image * self.num_queries), shape)

    def results(self, decoded: Mapping[str, Any], metas: Sequence[dict]) -> list[DetDataSample]:
        """Return the results of ``DETRHead`` with ``masks``, and ``pred_panoptic`` if ``stuff_labels`` is not None.

        Args:
            decoded: the output of ``decode``; ``mask_logits`` may be ``LazyMasks``.
            metas: also ``img_shape`` for each image, and ``input_shape`` where the batch is padded further than to the
                largest image or whole strides.
        """
        results = super().results(decoded, metas)
        if self.stuff_labels is not None:
            decoded = {**decoded, 'mask_strides': self.mask_strides(decoded['mask_logits'].shape[-2:], metas)}
            for image, (sample, meta) in enumerate(zip(results, metas, strict=True)):
                sample.pred_panoptic = self._segments(decoded, image, meta)
        return results

    def mask_strides(self, grid: Sequence[int], metas: Sequence[dict]) -> tuple[float, ...]:
        """Return the input pixels per mask pixel, vertically and horizontally, of masks of the size ``grid``."""
        if metas and 'input_shape' in metas[0]:
            size = metas[0]['input_shape']
        else:  # as large as the largest image, or padded to a multiple of the strides
            stride = self.strides[0]
            sides = [max((meta['img_shape'][axis] for meta in metas), default=1) for axis in (0, 1)]
            size = [
                side if -(-side // stride) == cells else cells * stride for side, cells in zip(sides, grid, strict=True)
            ]
        return tuple(side / cells for side, cells in zip(size, grid, strict=True))

    def _segments(self, decoded: Mapping[str, Any], image: int, meta: dict) -> PanopticSegments:
        scores, labels = decoded['scores'][image].max(-1)  # (Q,)
        sure = scores > self.test_cfg.get('panoptic_score_thr', 0.85)
        queries = (sure & (scores >= decoded['no_object_scores'][image])).nonzero().squeeze(1)
        parts = [scores.new_zeros(0, *meta['ori_shape'])]
        parts += [original_logits(decoded, image, part, meta) for part in queries.split(CHUNK)]
        return merge_segments(
            torch.cat(parts),
            scores[queries],
            labels[queries],
            self.stuff_labels,
            self.test_cfg.get('panoptic_min_area', 4),
        )
