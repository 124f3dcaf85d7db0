"""``QueryMasks``: masks of the queries of a head, which are learnt at points and made for what is reported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from detkit.protocols import PixelMaskLoss
from detkit.registry import LOSSES
from detkit.structures.gt_batch import GtBatch
from detkit.utils.errors import ConfigError

from ..layers.keyed_dropout import keyed_uniform
from ..layers.query_mask_decoder import QueryMaskDecoder
from .base_head import widened
from .mask_results import LazyMasks, MaskResults, object_masks
from .query_head import Matches

# B images of at most M objects, N objects in all, G groups of Q queries, D for denoising, L decoder layers, P points of
# a mask; K maps of pixels: those of the L layers and of the selection in training, otherwise that of the last layer.

# How many times as many points are drawn as a mask is learnt at, and the share of them that is taken as least certain.
_OVERSAMPLING, _UNCERTAIN = 3, 0.75
# Pixels of a mask for one point.
_PIXELS_PER_POINT = 16


class QueryMasks(MaskResults):
    """Masks for a ``QueryHead``, to be named before it: ``class Head(QueryMasks, Base)``.

    A mask is the product of its query's vector with those of pixels, see ``QueryMaskDecoder``. As in Mask2Former
    (arXiv:2112.01527, section 3.3), masks are learnt at a few points, of which most are the least certain of those
    drawn, and a matching also weighs how well masks fit at random points. Denoising queries learn the masks of the
    objects that they were made of.

    Args:
        mask_stride: pixels of the image for one of a mask, along each side.
        mask_cost_weights: factors of the cross entropy and of the Dice loss in the matching.
        loss_mask, loss_dice: configs of the losses.
        **kwargs: arguments of the head.
    """

    mask_takes = {'loss_mask': PixelMaskLoss, 'loss_dice': PixelMaskLoss}
    mask_parts = {
        'loss_mask': dict(type='MaskFocalLoss', loss_weight=5.0, alpha=None, gamma=0.0),  # cross entropy
        'loss_dice': dict(type='MaskDiceLoss', loss_weight=5.0),
    }
    provides = ('bbox', 'segm')
    added_parts = ('mask_decoder',)

    def __init__(
        self,
        *args: Any,
        mask_stride: int = 4,
        mask_cost_weights: tuple[float, float] = (5.0, 5.0),
        loss_mask: dict | None = None,
        loss_dice: dict | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if mask_stride < 1:
            raise ConfigError(f'{type(self).__name__}: mask_stride must be at least 1, found {mask_stride}')
        self.mask_stride = mask_stride
        self.mask_cost_weights = tuple(mask_cost_weights)
        self.mask_decoder = QueryMaskDecoder(self.decoder.embed_dims, self.decoder.num_layers)
        self.loss_mask = self.build_part(LOSSES, 'loss_mask', loss_mask)
        self.loss_dice = self.build_part(LOSSES, 'loss_dice', loss_dice)

    def extend(
        self, preds: dict, finest: Tensor, content: Tensor, queries: Tensor, num_denoising: int | None = None
    ) -> dict:
        """Add the inputs of masks to predictions.

        These are lists of K tensors, the selection's last: ``mask_pixels``, each ``(B, C, h, w)``, and ``mask_embeds``,
        each ``(B, G * Q, C)``; and, of a head with denoising queries, ``dn_mask_embeds`` of its layers, each
        ``(B, D, C)``.

        Args:
            preds: the predictions.
            finest: ``(B, C, h', w')``, the finest map of the memory.
            content: ``(B, G * Q, C)``, the selection's output.
            queries: ``(L, B, D + G * Q, C)``, the decoder's.
            num_denoising: D, None for a head that never has denoising queries.
        """
        size = [cells * self.strides[0] // self.mask_stride for cells in finest.shape[-2:]]
        plain, *layers = self.mask_decoder.pixels(finest, size, len(queries))
        sources = [*zip(layers, queries, strict=True)]
        sources = [*sources, (plain, content)] if self.training else sources[-1:]
        pixels = [self.mask_decoder.pixel_proj(feat) for feat, _ in sources]
        embeds = [self.mask_decoder.queries(own) for _, own in sources]
        preds = {**preds, 'mask_pixels': pixels, 'mask_embeds': embeds}
        if num_denoising is not None:
            layered = len(queries) if self.training else 1
            preds['dn_mask_embeds'] = [own[:, :num_denoising] for own in embeds[:layered]]
            preds['mask_embeds'] = [*(own[:, num_denoising:] for own in embeds[:layered]), *embeds[layered:]]
        return preds

    def mask_layers(self, preds: dict) -> list[int]:
        """Return which of the matched predictions have masks: one for each of the K maps."""
        num_layers = len(preds['cls_logits'])
        return [*range(num_layers), self.num_matched(preds) - 1] if self.training else [num_layers - 1]

    @torch.no_grad()
    def added_costs(self, preds: dict, gt: GtBatch) -> list[Tensor | None]:
        """Return what masks add to the cost of each pair ``(B, G * Q, M)``, None for predictions without masks.

        Raises:
            ValueError: the batch has no masks.
        """
        if gt.masks is None:
            raise ValueError(
                f'{type(self).__name__} learns masks, but the batch has none. Let the pipeline draw them '
                '(Render(with_masks=True)), or use the head without masks.'
            )
        batch = preds['cls_logits'].shape[1]
        costs: list[Tensor | None] = [None] * self.num_matched(preds)
        height, width = preds['mask_pixels'][0].shape[-2:]
        count = max(height * width // _PIXELS_PER_POINT, 1)
        every = torch.arange(batch * gt.max_instances, device=gt.labels.device)
        for index, layer in enumerate(self.mask_layers(preds)):
            pixels, embeds = (widened(preds[name][index]) for name in ('mask_pixels', 'mask_embeds'))
            points = keyed_uniform((batch, count, 2), pixels)
            sampled = sample(pixels, points)  # (B, C, P)
            logits = embeds @ sampled + self.mask_decoder.bias.to(embeds.dtype)  # (B, G * Q, P)
            truth = object_masks(gt, every).to(logits.dtype)  # (B * M, h, w)
            repeated = points.repeat_interleave(gt.max_instances, dim=0)
            truth = sample(truth.unsqueeze(1), repeated, 'nearest').view(batch, gt.max_instances, count).transpose(1, 2)
            costs[layer] = pair_costs(logits, truth, self.mask_cost_weights)  # of (B, G * Q, P) and (B, P, M)
        return costs

    def added_losses(self, preds: dict, matches: Matches, gt: GtBatch) -> dict[str, Tensor]:
        """Return ``loss_mask`` and ``loss_dice`` of all that is matched, 0 for predictions without masks."""
        return self._mask_losses(preds, 'mask_embeds', self.mask_layers(preds), self.num_matched(preds), matches, gt)

    def added_denoising_losses(self, preds: dict, matches: Matches, gt: GtBatch) -> dict[str, Tensor]:
        """Return ``loss_mask`` and ``loss_dice`` of the denoising queries in the L layers."""
        layers = range(len(preds['dn_mask_embeds']))
        return self._mask_losses(preds, 'dn_mask_embeds', layers, len(layers), matches, gt)

    def _mask_losses(
        self, preds: dict, embeds: str, layers: Sequence[int], length: int, matches: Matches, gt: GtBatch
    ) -> dict[str, Tensor]:
        """Return ``loss_mask`` and ``loss_dice``, each ``(length,)``, of the vectors ``preds[embeds]``.

        Args:
            layers: for each of the vectors, its index in the matches and in the result.
        """
        zero = preds['cls_logits'].new_zeros(())
        losses = {name: [zero] * length for name in ('loss_mask', 'loss_dice')}
        for index, layer in enumerate(layers):
            pixels, own_embeds = widened(preds['mask_pixels'][index]), widened(preds[embeds][index])
            logits = self.matched_logits(pixels, own_embeds, matches, layer, gt)
            values, truth = self._at_points(logits, matches.object_idx, gt)
            for name, own in losses.items():
                own[layer] = getattr(self, name)(values, truth, matches.weight[layer], matches.avg_factor)
        return {name: torch.stack(own) for name, own in losses.items()}

    def _at_points(self, logits: Tensor, object_idx: Tensor, gt: GtBatch) -> tuple[Tensor, Tensor]:
        """Return logits and the truth at points, both ``(G * N, P)``.

        Args:
            logits: ``(G * N, h, w)`` of the matched queries, all objects of the first group first.
            object_idx: ``(G * N,)``, their objects in the flattened ``(B, M)``.
        """
        maps = logits.unsqueeze(1)
        height, width = logits.shape[-2:]
        count = max(height, height * width // _PIXELS_PER_POINT)
        certain = count - int(count * _UNCERTAIN)
        groups = len(object_idx) // max(gt.num_instances, 1)
        with torch.no_grad():
            drawn = self._draw(count * _OVERSAMPLING, groups, object_idx, gt, logits)
            uncertain = sample(maps, drawn).squeeze(1).abs().topk(count - certain, dim=1, largest=False).indices
            points = drawn.gather(1, uncertain.unsqueeze(-1).expand(-1, -1, 2))
            points = torch.cat((points, self._draw(certain, groups, object_idx, gt, logits)), dim=1)
            truth = sample(object_masks(gt, object_idx).unsqueeze(1).to(logits.dtype), points, 'nearest').squeeze(1)
        return sample(maps, points).squeeze(1), truth

    def _draw(self, count: int, groups: int, object_idx: Tensor, gt: GtBatch, like: Tensor) -> Tensor:
        """Return random points ``(G * N, count, 2)``, which depend on the image and the object's place in it."""
        batch, most = gt.labels.shape
        drawn = keyed_uniform((batch, most, groups, count, 2), like).flatten(0, 2)  # (B * M * G, count, 2)
        return drawn.index_select(0, self._slots(object_idx, groups, gt))

    def matched_logits(self, pixels: Tensor, embeds: Tensor, matches: Matches, layer: int, gt: GtBatch) -> Tensor:
        """Return the mask logits ``(G * N, h, w)`` of the matched queries of a layer.

        They are computed for each image together, with the places of objects that it lacks: nobody has to wait for
        the numbers of objects.

        Args:
            pixels: ``(B, C, h, w)``.
            embeds: ``(B, G * Q, C)``, or of denoising queries ``(B, D, C)``.
            layer: the layer's index in the matches.
        """
        batch, most = gt.labels.shape
        groups = len(matches.object_idx) // max(gt.num_instances, 1)
        slots = self._slots(matches.object_idx, groups, gt)
        table = torch.zeros(batch * most * groups, dtype=torch.int64, device=slots.device)
        table = table.index_copy(0, slots, matches.query_idx[layer])
        chosen = embeds.flatten(0, 1).index_select(0, table).view(batch, most * groups, embeds.shape[-1])
        logits = chosen @ pixels.flatten(2) + self.mask_decoder.bias  # (B, M * G, h * w)
        return logits.flatten(0, 1).index_select(0, slots).unflatten(-1, (pixels.shape[-2], pixels.shape[-1]))

    @staticmethod
    def _slots(object_idx: Tensor, groups: int, gt: GtBatch) -> Tensor:
        """Return the places of matches, all of the first group first, in the flattened ``(B, M, G)``."""
        group = torch.arange(groups, device=object_idx.device).repeat_interleave(gt.num_instances)
        return object_idx * groups + group

    def decode(self, preds: dict, img_shapes: Tensor | None = None) -> dict[str, Tensor]:
        """Return what the head without masks does, and ``mask_logits (B, Q, h, w)`` of the first group."""
        decoded = self.decode_objects(preds, img_shapes)
        pixels, embeds = self._last(preds)
        embeds = embeds[:, : decoded['scores'].shape[1]]
        logits = embeds @ pixels.flatten(2) + self.mask_decoder.bias
        return {**decoded, 'mask_logits': logits.unflatten(-1, (pixels.shape[-2], pixels.shape[-1]))}

    def masks_of(self, preds: dict) -> LazyMasks:
        """Return the masks of all queries, of which those that are asked for are computed."""
        pixels, embeds = self._last(preds)

        def compute(image: int, queries: Tensor) -> Tensor:
            logits = embeds[image, queries] @ pixels[image].flatten(1) + self.mask_decoder.bias
            return logits.unflatten(-1, (pixels.shape[-2], pixels.shape[-1]))

        return LazyMasks(compute, (*embeds.shape[:2], *pixels.shape[-2:]))

    def _last(self, preds: dict) -> tuple[Tensor, Tensor]:
        """Return the last decoder layer's vectors of pixels and of queries."""
        index = len(preds['cls_logits']) - 1 if len(preds['mask_pixels']) > 1 else 0
        return widened(preds['mask_pixels'][index]), widened(preds['mask_embeds'][index])

    def mask_strides(self, grid: Sequence[int], metas: Sequence[dict]) -> tuple[float, ...]:
        """Return the input pixels per mask pixel, vertically and horizontally."""
        return (float(self.mask_stride),) * 2


def sample(maps: Tensor, points: Tensor, mode: str = 'bilinear') -> Tensor:
    """Return the values ``(B, C, P)`` of maps ``(B, C, h, w)`` at points ``(B, P, 2)``, x and y in [0, 1]."""
    grid = 2 * points.unsqueeze(2) - 1
    return F.grid_sample(maps, grid, mode, padding_mode='border', align_corners=False).squeeze(3)


def pair_costs(logits: Tensor, truth: Tensor, weights: Sequence[float]) -> Tensor:
    """Return the weighted cross entropy and Dice loss of each pair, ``(B, Q, M)``.

    Args:
        logits: ``(B, Q, P)`` at the P points of an image.
        truth: ``(B, P, M)``, 0 or 1.
        weights: of the cross entropy, and of the Dice loss.
    """
    entropy = F.softplus(-logits) @ truth + F.softplus(logits) @ (1 - truth)
    scores = logits.sigmoid()
    dice = 1 - (2 * scores @ truth + 1) / (scores.sum(-1, keepdim=True) + truth.sum(1, keepdim=True) + 1)
    return weights[0] * entropy / logits.shape[-1] + weights[1] * dice
