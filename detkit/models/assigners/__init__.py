"""Assigners: which priors learn which objects."""

from .hungarian_assigner import HungarianAssigner
from .match_costs import BBoxL1Cost, ClassCost, GIoUCost
from .rotated_task_aligned_assigner import RotatedTaskAlignedAssigner
from .task_aligned_assigner import TaskAlignedAssigner
from .yolov3_anchor_assigner import YOLOv3AnchorAssigner
from .yolov5_anchor_assigner import YOLOv5AnchorAssigner

__all__ = [
    'BBoxL1Cost',
    'ClassCost',
    'GIoUCost',
    'HungarianAssigner',
    'RotatedTaskAlignedAssigner',
    'YOLOv3AnchorAssigner',
    'YOLOv5AnchorAssigner',
    'TaskAlignedAssigner',
]
