"""Postprocessing of predictions to results: non-maximum suppression, and masks in the original image."""

from typing import TYPE_CHECKING

from detkit.utils.lazy import lazy_names

if TYPE_CHECKING:
    from detkit.models.postprocess.mask_decoding import decode_masks
    from detkit.models.postprocess.nms import batched_nms
    from detkit.models.postprocess.rotated_nms import batched_rotated_nms
    from detkit.models.postprocess.segment_merging import merge_segments
    from detkit.models.postprocess.top_k import top_scores

__getattr__ = lazy_names(
    __name__,
    {
        'batched_nms': 'nms',
        'batched_rotated_nms': 'rotated_nms',
        'decode_masks': 'mask_decoding',
        'merge_segments': 'segment_merging',
        'top_scores': 'top_k',
    },
)

__all__ = [
    'batched_nms',
    'batched_rotated_nms',
    'decode_masks',
    'merge_segments',
    'top_scores',
]
