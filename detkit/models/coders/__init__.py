"""Coders: boxes to the numbers that a network regresses, and back."""

from .anchor_coders import AnchorBBoxCoder, YOLOv3BBoxCoder, YOLOv5BBoxCoder
from .distance_coders import DistancePointBBoxCoder, RotatedDistanceCoder
from .relative_bbox_coder import RelativeBBoxCoder, cxcywh_to_xyxy

__all__ = [
    'AnchorBBoxCoder',
    'DistancePointBBoxCoder',
    'RelativeBBoxCoder',
    'RotatedDistanceCoder',
    'YOLOv3BBoxCoder',
    'YOLOv5BBoxCoder',
    'cxcywh_to_xyxy',
]
