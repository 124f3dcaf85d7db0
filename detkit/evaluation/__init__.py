"""Figures of merit; importing this registers the metrics."""

from detkit.evaluation.coco_metric import CocoMetric

__all__ = ['CocoMetric']
