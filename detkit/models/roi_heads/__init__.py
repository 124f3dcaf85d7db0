"""Heads of the second stage, which look at regions, and what cuts these out of feature maps."""

from typing import TYPE_CHECKING

from detkit.utils.lazy import lazy_names

if TYPE_CHECKING:
    from detkit.models.roi_heads.base_roi_head import BaseRoIHead, RoISamples
    from detkit.models.roi_heads.bbox_roi_head import BBoxRoIHead
    from detkit.models.roi_heads.keypoint_roi_head import KeypointRoIHead
    from detkit.models.roi_heads.mask_roi_head import MaskRoIHead
    from detkit.models.roi_heads.roi_align_extractor import RoIAlignExtractor

__getattr__ = lazy_names(
    __name__,
    {
        'BBoxRoIHead': 'bbox_roi_head',
        'BaseRoIHead': 'base_roi_head',
        'KeypointRoIHead': 'keypoint_roi_head',
        'MaskRoIHead': 'mask_roi_head',
        'RoIAlignExtractor': 'roi_align_extractor',
        'RoISamples': 'base_roi_head',
    },
)

__all__ = ['BBoxRoIHead', 'BaseRoIHead', 'KeypointRoIHead', 'MaskRoIHead', 'RoIAlignExtractor', 'RoISamples']
