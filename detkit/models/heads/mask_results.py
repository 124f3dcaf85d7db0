"""``MaskResults``: results with masks of heads that predict masks as wide and high as the image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from detkit.structures.data_sample import DetDataSample
from detkit.structures.gt_batch import GtBatch
from detkit.structures.masks import InstanceMasks

from ..postprocess.mask_decoding import resample_masks
from ..postprocess.nms import Detections
from .base_head import stack_img_shapes

# Number of objects whose masks prediction makes at a time, to bound the memory.
CHUNK = 16


class MaskResults:
    """Results with masks, for a class of heads to name before a ``QueryHead``.

    The head writes ``decode_objects``, what ``decode`` returns without masks, and ``masks_of``.
    """

    def decode_objects(self, preds: dict[str, Any], img_shapes: Tensor | None) -> dict[str, Tensor]:
        """Return what ``decode`` does, without masks."""
        return super().decode(preds, img_shapes)

    def masks_of(self, preds: dict[str, Any]) -> LazyMasks:
        """Return the masks of all queries, of which those that are asked for are computed."""
        raise NotImplementedError

    @torch.no_grad()
    def predict(self, preds: dict[str, Any], metas: Sequence[dict]) -> list[DetDataSample]:
        """Return what ``results(decode(preds))`` does, but compute only the masks of the queries that are reported."""
        device = preds['cls_logits'].device
        with torch.autocast(device.type, enabled=False):
            decoded = self.decode_objects(preds, stack_img_shapes(metas, device))
            return self.results({**decoded, 'mask_logits': self.masks_of(preds)}, metas)

    def results(self, decoded: Mapping[str, Any], metas: Sequence[dict]) -> list[DetDataSample]:
        """Return detections with ``masks``, in pixels of the original images, best first.

        Args:
            decoded: the output of ``decode``; ``mask_logits`` may be ``LazyMasks``.
            metas: for each image ``matrix`` and ``ori_shape``, see ``DetDataSample``, and what ``mask_strides`` reads.
        """
        strides = self.mask_strides(decoded['mask_logits'].shape[-2:], metas)
        return super().results({**decoded, 'mask_strides': strides}, metas)

    def mask_strides(self, grid: Sequence[int], metas: Sequence[dict]) -> tuple[float, ...]:
        """Return the input pixels per mask pixel, vertically and horizontally, of masks of the size ``grid``."""
        raise NotImplementedError

    def _instances(self, decoded: Mapping[str, Any], image: int, kept: Detections, meta: dict) -> InstanceData:
        """Return the detections of one image with ``masks`` (``InstanceMasks``)."""
        instances = super()._instances(decoded, image, kept, meta)
        parts = [InstanceMasks([], [], meta['ori_shape'])]
        for queries in kept.prior_idx.split(CHUNK):
            masks = original_logits(decoded, image, queries, meta) > 0  # the probability is above one half
            parts.append(InstanceMasks.from_bool(masks.cpu().numpy()))
        instances.masks = InstanceMasks.cat(parts)
        return instances


class LazyMasks:
    """The mask logits of all queries, of which only those that are asked for are computed.

    They are indexed as the tensor of all would be: ``masks[image, queries]``.

    Args:
        compute: returns the logits ``(N, h, w)`` of queries ``(N,)`` of an image.
        shape: (B, Q, h, w).
    """

    def __init__(self, compute: Callable[[int, Tensor], Tensor], shape: Sequence[int]) -> None:
        self._compute = compute
        self.shape = tuple(shape)

    def __getitem__(self, index: tuple[int, Tensor]) -> Tensor:
        return self._compute(*index)


def original_logits(decoded: Mapping[str, Any], image: int, queries: Tensor, meta: dict) -> Tensor:
    """Return mask logits ``(N, H, W)`` at the pixels of the original image."""
    return resample_masks(
        decoded['mask_logits'][image, queries], meta['matrix'], meta['ori_shape'], decoded['mask_strides']
    )


def object_masks(gt: GtBatch, object_idx: Tensor) -> Tensor:
    """Return the masks ``(N, h, w)``, bool, of N objects, given by their indices in the flattened ``(B, M)``."""
    if gt.masks.dim() == 4:
        return gt.masks.flatten(0, 1).index_select(0, object_idx)
    images = object_idx.div(max(gt.max_instances, 1), rounding_mode='floor')
    numbers = object_idx.remainder(max(gt.max_instances, 1)) + 1
    return gt.masks.index_select(0, images) == numbers[:, None, None]
