"""Coders: boxes as what a network regresses, and back."""

from .anchor_bbox_coder import AnchorBBoxCoder
from .distance_point_bbox_coder import DistancePointBBoxCoder
from .relative_bbox_coder import RelativeBBoxCoder, cxcywh_to_xyxy
from .rotated_distance_coder import RotatedDistanceCoder
from .yolov3_bbox_coder import YOLOv3BBoxCoder
from .yolov5_bbox_coder import YOLOv5BBoxCoder

__all__ = [
    'AnchorBBoxCoder',
    'DistancePointBBoxCoder',
    'RelativeBBoxCoder',
    'RotatedDistanceCoder',
    'YOLOv3BBoxCoder',
    'YOLOv5BBoxCoder',
    'cxcywh_to_xyxy',
]
