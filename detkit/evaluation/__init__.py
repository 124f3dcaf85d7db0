"""Metrics; importing this registers them."""

from typing import TYPE_CHECKING

from detkit.utils.lazy import lazy_names

if TYPE_CHECKING:
    from detkit.evaluation.accuracy_metric import AccuracyMetric
    from detkit.evaluation.coco_metric import CocoMetric
    from detkit.evaluation.dota_metric import DOTAMetric
    from detkit.evaluation.evaluator import Evaluator
    from detkit.evaluation.panoptic_metric import PanopticMetric
    from detkit.evaluation.voc_metric import VOCMetric

__getattr__ = lazy_names(
    __name__,
    {
        'AccuracyMetric': 'accuracy_metric',
        'CocoMetric': 'coco_metric',
        'DOTAMetric': 'dota_metric',
        'Evaluator': 'evaluator',
        'PanopticMetric': 'panoptic_metric',
        'VOCMetric': 'voc_metric',
    },
)

__all__ = [
    'AccuracyMetric',
    'CocoMetric',
    'DOTAMetric',
    'Evaluator',
    'PanopticMetric',
    'VOCMetric',
]
