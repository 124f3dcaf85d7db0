"""Postprocessing of predictions to results: non-maximum suppression, and masks in the original image."""

from .mask_decoding import decode_masks
from .nms import batched_nms
from .rotated_nms import batched_rotated_nms, rotated_nms
from .segment_merging import merge_segments

__all__ = ['batched_nms', 'batched_rotated_nms', 'decode_masks', 'merge_segments', 'rotated_nms']
