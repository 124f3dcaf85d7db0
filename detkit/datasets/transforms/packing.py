"""``PackInputs``: the last transform, from rendered arrays to what ``collate`` takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from detkit.registry import TRANSFORMS
from detkit.structures.sample import Sample

__all__ = ['PackInputs']


@TRANSFORMS.register_module()
class PackInputs:
    """Keep the image as a tensor, the objects, and the meta information of the sample.

    The result has ``inputs`` (uint8 ``(3, H, W)``, a view of the rendered image and so with the channels innermost in
    memory, which is the layout the networks run in), ``annotations``, ``masks`` where they were drawn, ``class_label``
    where the whole image has one, ``meta`` and, in test mode, ``gt_raw``, the record's own annotations in pixels of the
    original image. An image that is drawn later has ``drawing`` in place of ``inputs``.
    """

    stage = 'pack'

    def __call__(self, sample: Sample) -> dict[str, Any]:
        record, img, drawing = sample.record, sample.img, sample.drawing
        meta = {
            'img_path': record.img_path,
            'img_id': record.img_id,
            'ori_shape': sample.ori_shape,
            'img_shape': img.shape[:2] if drawing is None else drawing.size,
            'matrix': sample.matrix,
        }
        if sample.skip_reason is not None:
            meta['skipped'] = sample.skip_reason
        packed: dict[str, Any] = {'annotations': sample.annotations, 'meta': meta}
        if drawing is None:
            packed['inputs'] = torch.from_numpy(np.ascontiguousarray(img)).permute(2, 0, 1)  # (H, W, 3) -> (3, H, W)
        else:
            packed['drawing'] = drawing
        if sample.masks is not None:
            packed['masks'] = sample.masks
        if record.class_label is not None:
            packed['class_label'] = record.class_label
        if sample.test_mode:
            packed['gt_raw'] = record.annotations
        return packed
