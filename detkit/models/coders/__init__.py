"""Coders: boxes as what a network regresses, and back."""

from .distance_point_bbox_coder import DistancePointBBoxCoder

__all__ = ['DistancePointBBoxCoder']
