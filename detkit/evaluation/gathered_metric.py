"""``GatheredMetric``: what metrics share that look at all images at once, on one process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process
from mmengine.evaluator import BaseMetric


class GatheredMetric(BaseMetric):
    """Base of metrics over single images; a subclass writes ``image_result`` and ``compute_metrics``.

    What others need to know about its results it declares in attributes of the class, by names without prefix.

    Attributes:
        headline: the results that a console line and the tables show, the most important first.
        charts: titles of charts, each with the results drawn in it, the most important first.
        lower_is_better: the results of which a smaller value is the better one.
        fitness_weights: share of each result in ``fitness``.
        needs: what annotations and predictions must hold: 'bbox', 'segm' (masks), 'keypoints', 'rbbox', 'label' (the
            class of the whole image) or 'panoptic'.
        keep_results: whether ``kept_results`` is to hold, after an evaluation and on the main process, what it was made
            of: each image's result, by their paths. Whoever wants them sets it, and clears ``kept_results`` after use.
    """

    headline: ClassVar[tuple[str, ...]] = ()
    charts: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    lower_is_better: ClassVar[tuple[str, ...]] = ()
    fitness_weights: ClassVar[Mapping[str, float]] = {}
    needs: tuple[str, ...] = ()
    keep_results = False
    kept_results: Sequence[Any] = ()

    @classmethod
    def declared(cls) -> set[str]:
        """Return the names of all results that the metric declares something about."""
        return {*cls.headline, *cls.lower_is_better, *(name for names in cls.charts.values() for name in names)}

    @classmethod
    def fitness(cls, results: Mapping[str, float]) -> float | None:
        """Return how good a validation was, greater is better; None where no result of ``fitness_weights`` is there.

        Args:
            results: of this metric, by names without prefix. COCO's -1 (no object to find) counts as 0.
        """
        parts = [weight * max(results[name], 0.0) for name, weight in cls.fitness_weights.items() if name in results]
        return sum(parts) if parts else None

    def class_names(self, results: Sequence[Any]) -> list[str]:
        """The dataset's; numbers where it has none. ``results`` have ``labels`` and ``gt_labels``, arrays."""
        classes = (self.dataset_meta or {}).get('classes')
        if classes is not None:
            return list(classes)
        highest = max(int(labels.max(initial=-1)) for r in results for labels in (r.gt_labels, r.labels))
        return [str(label) for label in range(highest + 1)]

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep what is evaluated of a batch: ``DetDataSample``s as they are or, as mmengine passes them, as dicts.

        An image that could not be read (``skipped`` in its meta information) counts neither way.
        """
        for sample in data_samples:
            sample = sample if isinstance(sample, dict) else sample.to_dict()
            if 'skipped' not in sample:
                self.results.append(self.image_result(sample))

    def image_result(self, sample: dict) -> Any:
        """What is kept of an image, with ``img_path`` and ``img_id``."""
        raise NotImplementedError

    def evaluate(self, size: int) -> dict[str, float]:
        """The figures, the same on every process.

        Images that a sampler repeated to give each process equally many count once. ``size`` is not needed for that,
        and the order in which processes took the images does not matter.
        """
        parts = all_gather_object(self.results)
        self.results = []
        figures: list[dict[str, float] | None] = [None]
        if is_main_process():
            unique = {(result.img_path, str(result.img_id)): result for part in parts for result in part}
            results = [unique[key] for key in sorted(unique)]
            self.kept_results = results if self.keep_results else ()
            computed = self.compute_metrics(results)
            figures = [{f'{self.prefix}/{name}': value for name, value in computed.items()}]
        broadcast_object_list(figures)
        return figures[0]

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """The figures without prefix, of the images of all processes; runs on the main one."""
        raise NotImplementedError


def keeps_samples(metric: BaseMetric) -> bool:
    """Return whether a metric's results say of each image what is there and what was predicted."""
    return isinstance(metric, GatheredMetric) and bool(metric.needs) and 'panoptic' not in metric.needs


def as_array(values: Any) -> np.ndarray:
    """Of a tensor, an array or a sequence."""
    return values.detach().cpu().numpy() if hasattr(values, 'detach') else np.asarray(values)
