"""Assigners: which priors learn which objects."""

from .assign_result import AssignResult
from .rotated_task_aligned_assigner import RotatedTaskAlignedAssigner
from .task_aligned_assigner import TaskAlignedAssigner

__all__ = ['AssignResult', 'RotatedTaskAlignedAssigner', 'TaskAlignedAssigner']
