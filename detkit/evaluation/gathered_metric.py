"""``GatheredMetric``: what metrics share that look at all images at once, on one process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process
from mmengine.evaluator import BaseMetric

from detkit.evaluation.evaluated_sample import evaluated_sample
from detkit.structures.data_sample import DetDataSample


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
        table: the results of each class as text, of the last evaluation and on the main process; '' for none.
        samples: of the last evaluation, where it was asked to keep them and on the main process: each image's
            ground truth and predictions (``evaluated_sample``), by their paths.
    """

    headline: ClassVar[tuple[str, ...]] = ()
    charts: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    lower_is_better: ClassVar[tuple[str, ...]] = ()
    fitness_weights: ClassVar[Mapping[str, float]] = {}
    needs: tuple[str, ...] = ()
    samples: Sequence[DetDataSample] = ()
    table: str = ''

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

    def class_names(self, samples: Sequence[DetDataSample]) -> list[str]:
        """Return the names of the dataset's classes; numbers where it has none."""
        classes = (self.dataset_meta or {}).get('classes')
        if classes is not None:
            return list(classes)
        labels = [each.labels for sample in samples for each in (sample.gt_instances, sample.pred_instances)]
        return [str(label) for label in range(max(int(each.max(initial=-1)) for each in labels) + 1)]

    def process(self, data_batch: Any, data_samples: Sequence[DetDataSample]) -> None:
        """Keep what is evaluated of a batch.

        An image that could not be read (``skipped`` in its meta information) counts neither way.
        """
        self.results += [self.image_result(sample) for sample in data_samples if 'skipped' not in sample]

    def image_result(self, sample: DetDataSample) -> Any:
        """Return what is kept of an image, with attributes ``img_path`` and ``img_id``."""
        return evaluated_sample(sample, self.needs, type(self).__name__)

    def evaluate(self, size: int, keep: bool = False) -> dict[str, float]:
        """Return the results, the same on every process.

        Images that a sampler repeated to give each process equally many count once, and the order in which processes
        took the images does not matter.

        Args:
            size: number of images; mmengine's interface, not used.
            keep: set ``samples``, of a metric that looks at single images.
        """
        parts = all_gather_object(self.results)
        self.results = []
        results: list[dict[str, float] | None] = [None]
        if is_main_process():
            unique = {(kept.img_path, str(kept.img_id)): kept for part in parts for kept in part}
            kept = [unique[key] for key in sorted(unique)]
            self.samples = kept if keep and keeps_samples(self) else ()
            results = [{f'{self.prefix}/{name}': value for name, value in self.compute_metrics(kept).items()}]
        broadcast_object_list(results)
        return results[0]

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """The figures without prefix, of the images of all processes; runs on the main one."""
        raise NotImplementedError


def keeps_samples(metric: BaseMetric) -> bool:
    """Return whether a metric's results say of each image what is there and what was predicted."""
    return isinstance(metric, GatheredMetric) and bool(metric.needs) and 'panoptic' not in metric.needs
