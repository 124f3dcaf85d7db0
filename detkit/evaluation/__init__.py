"""Figures of merit; importing this registers the metrics."""

from detkit.evaluation.accuracy_metric import AccuracyMetric
from detkit.evaluation.coco_metric import CocoMetric

__all__ = ['AccuracyMetric', 'CocoMetric']
