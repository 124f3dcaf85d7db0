"""``Evaluator``: all metrics of a validation or test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.evaluator import Evaluator as MMEngineEvaluator

from detkit.evaluation.gathered_metric import GatheredMetric, keeps_samples
from detkit.registry import METRICS
from detkit.structures.data_sample import DetDataSample


class Evaluator(MMEngineEvaluator):
    """mmengine's evaluator, which passes data samples on as they are, and keeps them on request.

    Args:
        metrics: metrics or their configs; one or several.
    """

    def __init__(self, metrics: Mapping[str, Any] | BaseMetric | Sequence[Mapping[str, Any] | BaseMetric]) -> None:
        metrics = metrics if isinstance(metrics, Sequence) else [metrics]
        super().__init__([METRICS.build(metric) if isinstance(metric, Mapping) else metric for metric in metrics])

    @property
    def sample_metric(self) -> GatheredMetric | None:
        """The first metric that looks at single images, whose ``samples`` are kept; None where there is none."""
        return next(filter(keeps_samples, self.metrics), None)

    def tables(self) -> list[str]:
        """Return the metrics' tables of classes, of the last evaluation and on the main process."""
        tables = [metric.table for metric in self.metrics if isinstance(metric, GatheredMetric)]
        return [table for table in tables if table]

    def process(self, data_samples: Sequence[DetDataSample], data_batch: Any = None) -> None:
        """Hand a batch's predictions to every metric; mmengine's own metrics get them as dicts."""
        for metric in self.metrics:
            if isinstance(metric, GatheredMetric):
                metric.process(data_batch, data_samples)
            else:
                metric.process(data_batch, [sample.to_dict() for sample in data_samples])

    def evaluate(self, size: int, keep: bool = False) -> dict[str, float]:
        """Return the results of all metrics.

        Args:
            size: number of images.
            keep: let ``sample_metric`` keep its samples, see ``GatheredMetric.samples``.

        Raises:
            ValueError: two metrics give a result the same name.
        """
        results: dict[str, float] = {}
        for metric in self.metrics:
            values = metric.evaluate(size, keep) if isinstance(metric, GatheredMetric) else metric.evaluate(size)
            twice = sorted(results.keys() & values.keys())
            if twice:
                raise ValueError(f'two metrics call a result {twice[0]!r}; give one of them another prefix')
            results |= values
        return results
