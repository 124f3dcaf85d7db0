"""Metrics; importing this registers them."""

from detkit.evaluation.accuracy_metric import AccuracyMetric
from detkit.evaluation.coco_metric import CocoMetric
from detkit.evaluation.dota_metric import DOTAMetric
from detkit.evaluation.evaluator import Evaluator
from detkit.evaluation.panoptic_metric import PanopticMetric
from detkit.evaluation.voc_metric import VOCMetric

__all__ = ['AccuracyMetric', 'CocoMetric', 'DOTAMetric', 'Evaluator', 'PanopticMetric', 'VOCMetric']
