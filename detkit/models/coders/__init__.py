"""Coders: boxes to the numbers that a network regresses, and back."""

from typing import TYPE_CHECKING

from detkit.utils.lazy import lazy_names

if TYPE_CHECKING:
    from detkit.models.coders.anchor_coders import AnchorBBoxCoder, YOLOv3BBoxCoder, YOLOv5BBoxCoder, YOLOXBBoxCoder
    from detkit.models.coders.delta_bbox_coder import DeltaBBoxCoder
    from detkit.models.coders.distance_coders import (
        DistancePointBBoxCoder,
        FreeAngleDistanceCoder,
        RotatedDistanceCoder,
    )
    from detkit.models.coders.relative_bbox_coder import RelativeBBoxCoder, cxcywh_to_xyxy
    from detkit.models.coders.relative_rbbox_coder import RelativeRBBoxCoder

__getattr__ = lazy_names(
    __name__,
    {
        'AnchorBBoxCoder': 'anchor_coders',
        'DistancePointBBoxCoder': 'distance_coders',
        'RelativeBBoxCoder': 'relative_bbox_coder',
        'RelativeRBBoxCoder': 'relative_rbbox_coder',
        'FreeAngleDistanceCoder': 'distance_coders',
        'RotatedDistanceCoder': 'distance_coders',
        'YOLOv3BBoxCoder': 'anchor_coders',
        'YOLOv5BBoxCoder': 'anchor_coders',
        'YOLOXBBoxCoder': 'anchor_coders',
        'cxcywh_to_xyxy': 'relative_bbox_coder',
        'DeltaBBoxCoder': 'delta_bbox_coder',
    },
)

__all__ = [
    'AnchorBBoxCoder',
    'DistancePointBBoxCoder',
    'RelativeBBoxCoder',
    'RelativeRBBoxCoder',
    'RotatedDistanceCoder',
    'FreeAngleDistanceCoder',
    'YOLOv3BBoxCoder',
    'YOLOv5BBoxCoder',
    'YOLOXBBoxCoder',
    'cxcywh_to_xyxy',
    'DeltaBBoxCoder',
]
