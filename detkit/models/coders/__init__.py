"""Coders: boxes as what a network regresses, and back."""

from .distance_point_bbox_coder import DistancePointBBoxCoder
from .relative_bbox_coder import RelativeBBoxCoder, cxcywh_to_xyxy
from .rotated_distance_coder import RotatedDistanceCoder

__all__ = ['DistancePointBBoxCoder', 'RelativeBBoxCoder', 'RotatedDistanceCoder', 'cxcywh_to_xyxy']
