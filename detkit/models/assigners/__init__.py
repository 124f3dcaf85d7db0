"""Assigners: which priors learn which objects."""

from .assign_result import AssignResult
from .task_aligned_assigner import TaskAlignedAssigner

__all__ = ['AssignResult', 'TaskAlignedAssigner']
