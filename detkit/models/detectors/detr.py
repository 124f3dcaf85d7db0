"""``DETR``: a detector whose head is given the mask of the padding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from detkit.registry import DETECTORS
from detkit.structures.data_sample import DetDataSample
from detkit.structures.gt_batch import GtBatch

from ..data_preprocessor import inside_images
from .base_detector import BaseDetector


@DETECTORS.register_module()
class DETR(BaseDetector):
    """Detector whose head attends to the whole image (arXiv:2005.12872).

    Images of a batch differ in size and are padded to the largest; the head gets the mask of the padding.
    """

    needs_img_shapes = True

    def padding_mask(
        self, inputs: Tensor, gt: GtBatch | None, data_samples: list[DetDataSample] | None, mode: str
    ) -> Tensor | None:
        """Return ``(B, H, W)`` bool, True in the padding; None where the CPU knows that there is no padding."""
        img_shapes = None if gt is None else gt.img_shapes
        if mode == 'predict' and data_samples is not None:
            img_shapes = torch.tensor([sample.img_shape[:2] for sample in data_samples])
        size = inputs.shape[-2:]
        if img_shapes is None or (img_shapes.device.type == 'cpu' and (img_shapes == torch.tensor(size)).all()):
            return None
        return self.mask_of(img_shapes.to(inputs.device), size)

    def mask_of(self, img_shapes: Tensor, size: Sequence[int]) -> Tensor:
        """Return ``(B, H, W)`` bool, True in the padding of images ``(B, 2)`` in a batch of ``size`` (H, W)."""
        return ~inside_images(img_shapes, size)
