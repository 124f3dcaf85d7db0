"""``PackInputs``: the last transform, from rendered arrays to what ``collate`` takes."""

from __future__ import annotations

import numpy as np
import torch

from detkit.registry import TRANSFORMS

__all__ = ['PackInputs']


@TRANSFORMS.register_module()
class PackInputs:
    """Keeps the image as a tensor, the objects, and the meta information of the sample.

    The result has ``inputs`` (uint8 ``(3, H, W)``, a view of the rendered image and so with the channels innermost in
    memory, which is the layout the networks run in), ``annotations``, ``masks`` where they were drawn, ``class_label``
    where the whole image has one, ``meta`` and, in test mode, ``gt_raw``, the record's own annotations in pixels of the
    original image.
    """

    stage = 'pack'

    def __call__(self, results: dict) -> dict:
        record, img = results['record'], results['img']
        meta = {
            'img_path': record.img_path,
            'img_id': record.img_id,
            'ori_shape': results['ori_shape'],
            'img_shape': img.shape[:2],
            'matrix': results['matrix'],
        }
        if 'skip_reason' in results:
            meta['skipped'] = results['skip_reason']
        packed = {
            'inputs': torch.from_numpy(np.ascontiguousarray(img)).permute(2, 0, 1),  # (H, W, 3) -> (3, H, W)
            'annotations': results['annotations'],
            'meta': meta,
        }
        if results.get('masks') is not None:
            packed['masks'] = results['masks']
        if record.class_label is not None:
            packed['class_label'] = record.class_label
        if results['test_mode']:
            packed['gt_raw'] = record.annotations
        return packed
