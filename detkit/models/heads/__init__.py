"""Heads: from features to predictions, losses and results."""

from .yolov8_head import YOLOv8Head
from .yolov8_segment_head import YOLOv8SegmentHead

__all__ = ['YOLOv8Head', 'YOLOv8SegmentHead']
