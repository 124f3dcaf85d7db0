"""Coders: boxes as what a network regresses, and back."""

from .distance_point_bbox_coder import DistancePointBBoxCoder
from .rotated_distance_coder import RotatedDistanceCoder

__all__ = ['DistancePointBBoxCoder', 'RotatedDistanceCoder']
