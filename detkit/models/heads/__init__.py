"""Heads: from features to predictions, losses and results."""

from .anchor_head import AnchorHead
from .base_head import BaseHead
from .dense_head import DenseHead
from .detr_head import DETRHead
from .detr_segment_head import DETRSegmentHead
from .mlp_classify_head import MLPClassifyHead
from .yolov3_head import YOLOv3Head
from .yolov5_head import YOLOv5Head
from .yolov8_classify_head import YOLOv8ClassifyHead
from .yolov8_head import YOLOv8Head
from .yolov8_obb_head import YOLOv8OBBHead
from .yolov8_pose_head import YOLOv8PoseHead
from .yolov8_segment_head import YOLOv8SegmentHead

__all__ = [
    'AnchorHead',
    'BaseHead',
    'DETRHead',
    'DETRSegmentHead',
    'DenseHead',
    'MLPClassifyHead',
    'YOLOv3Head',
    'YOLOv5Head',
    'YOLOv8ClassifyHead',
    'YOLOv8Head',
    'YOLOv8OBBHead',
    'YOLOv8PoseHead',
    'YOLOv8SegmentHead',
]
