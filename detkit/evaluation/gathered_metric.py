"""``GatheredMetric``: the base of metrics that need the results of all images at once, on one process."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor

from detkit.evaluation.evaluated_sample import evaluated_sample
from detkit.evaluation.mask_encoder import MaskEncoder
from detkit.structures.data_sample import DetDataSample
from detkit.utils.errors import ComponentError
from detkit.utils.tables import text_table


class GatheredMetric(BaseMetric):
    """Base of metrics over single images; a subclass writes ``compute_metrics``, and ``image_result`` where it must.

    A subclass declares what others need to know about its results in attributes of the class, by names without prefix.

    Args:
        classwise: make the table of classes.
        outfile: where to write the predictions as json, or None.
        prefix: the first part of the results' names; ``default_prefix`` when left out.

    Attributes:
        default_prefix: the first part of the results' names.
        headline: the results that a console line and the tables show, the most important first.
        charts: titles of charts, each with the results drawn in it, the most important first.
        lower_is_better: the results of which a smaller value is the better one.
        fitness_weights: share of each result in ``fitness``.
        needs: what annotations and predictions must hold: 'bbox', 'segm' (masks), 'keypoints', 'rbbox', 'label' (the
            class of the whole image) or 'panoptic'.
        values: names of own values that annotations (``Annotations.values``) and ``pred_instances`` must hold; they are
            kept as fields of ``gt_instances`` and ``pred_instances``.
        max_dets: numbers of predictions of an image and class that count, ascending; empty where all count.
        per_class: a dict for each class that has ground truth, of the last evaluation and on the main process.
        table: the same as text; '' where there is none.
        samples: each image's ground truth and predictions (``evaluated_sample``) of the last evaluation, ordered by
            path; empty unless it was asked to keep them, and on every process but the main one.
    """

    headline: ClassVar[tuple[str, ...]] = ()
    charts: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    lower_is_better: ClassVar[tuple[str, ...]] = ()
    fitness_weights: ClassVar[Mapping[str, float]] = {}
    needs: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    max_dets: Sequence[int] = ()

    def __init__(self, classwise: bool = True, outfile: str | None = None, prefix: str | None = None) -> None:
        super().__init__(prefix=prefix)
        self.classwise = classwise
        self.outfile = outfile
        self.per_class: list[dict[str, Any]] = []
        self.table = ''
        self.samples: Sequence[DetDataSample] = ()
        self._mask_encoder = MaskEncoder()

    @classmethod
    def declared(cls) -> set[str]:
        """Return the names of all results that the metric declares something about."""
        return {*cls.headline, *cls.lower_is_better, *(name for names in cls.charts.values() for name in names)}

    @classmethod
    def fitness(cls, results: Mapping[str, float]) -> float | None:
        """Return how good a validation was, greater is better; None where no result of ``fitness_weights`` is defined.

        Args:
            results: this metric's, by names without prefix. COCO's -1 (no object to find) and NaN are undefined.
        """
        defined = [name for name in cls.fitness_weights if is_defined(results.get(name, -1.0))]
        return sum(cls.fitness_weights[name] * results[name] for name in defined) if defined else None

    def process(self, data_batch: Any, data_samples: Sequence[DetDataSample]) -> None:
        """Keep what is evaluated of a batch.

        An image that could not be read (``skipped`` in its meta information) counts neither way.
        """
        self.results += [self.image_result(sample) for sample in data_samples if 'skipped' not in sample]

    def image_result(self, sample: DetDataSample) -> Any:
        """Return what is kept of an image, with attributes ``img_path`` and ``img_id``; masks may still be encoded."""
        return evaluated_sample(sample, self.needs, type(self).__name__, self._mask_encoder, self.values)

    def evaluate(self, size: int, keep: bool = False) -> dict[str, float]:
        """Return the results, the same on every process.

        Images that a sampler repeated to give each process equally many count once, and the order in which processes
        took the images does not matter.

        Args:
            size: number of images; mmengine's interface, not used.
            keep: set ``samples``, of a metric that looks at single images.
        """
        self._mask_encoder.finish()
        parts = all_gather_object(self.results)
        self.results, self.samples = [], ()
        self.per_class, self.table = [], ''
        results: list[dict[str, float]] = [{}]
        if is_main_process():
            unique = {_image_key(kept): kept for part in parts for kept in part}
            kept = [unique[key] for key in sorted(unique)]
            if not kept:
                name = type(self).__name__
                print_log(f'{name} has seen no image: there is nothing to evaluate.', 'current', logging.WARNING)
            else:
                results = [self._named(self.compute_metrics(kept))]
            self.samples = kept if keep and keeps_samples(self) else ()
        broadcast_object_list(results)
        return results[0]

    def _named(self, results: Mapping[str, float]) -> dict[str, float]:
        """Return results as Python numbers under their names with prefix."""
        title, named = type(self).__name__, {}
        if not isinstance(results, Mapping):
            text = f"{title}.compute_metrics returns {results!r}, but must return a dict such as {{'error': 0.5}}"
            raise ComponentError(text, title)
        for name, value in results.items():
            if isinstance(value, np.ndarray | np.generic | Tensor) and np.size(value) == 1:
                value = value.item()
            if not isinstance(value, int | float):
                raise ComponentError(
                    f'{title}.compute_metrics returns {value!r} as {name!r}, but results are numbers', title
                )
            named[f'{self.prefix}/{name}'] = value
        return named

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Return the results without prefix, as numbers or as arrays and tensors of one.

        Args:
            results: what ``image_result`` returned, of the images of all processes, at least one; on the main process.
        """
        raise NotImplementedError

    # ---- for subclasses ----------------------------------------------------------------------------------------------

    def class_names(self, labels: Sequence[np.ndarray]) -> list[str]:
        """Return the names of the dataset's classes; where it has none, numbers up to the highest of ``labels``."""
        classes = (self.dataset_meta or {}).get('classes')
        if classes is not None:
            return list(classes)
        return [str(label) for label in range(max(int(each.max(initial=-1)) for each in labels) + 1)]

    def category_ids(self, num_classes: int, first: int = 1) -> Sequence[int]:
        """Return the id that a file has for each label: the dataset's, else numbers from ``first`` on."""
        return (self.dataset_meta or {}).get('category_ids') or range(first, first + num_classes)

    def tabulate(
        self,
        samples: Sequence[DetDataSample],
        classes: Sequence[str],
        overall: Mapping[str, float],
        of_class: Mapping[str, np.ndarray],
    ) -> None:
        """Set ``per_class`` and ``table``: a row for all classes, and one for each that has objects.

        Args:
            samples: evaluated.
            classes: names of the labels.
            overall: the results of all classes together.
            of_class: the same results of each class, ``(C,)``.
        """
        objects, images = count_objects(samples, len(classes))
        self.per_class = [{'class': 'all', 'images': len(samples), 'objects': int(objects.sum()), **overall}]
        for k in np.flatnonzero(objects):
            row = {name: float(values[k]) for name, values in of_class.items()}
            self.per_class.append({'class': classes[k], 'images': int(images[k]), 'objects': int(objects[k]), **row})
        header = [name.replace('_', ' ') for name in self.per_class[0]]
        self.table = text_table(header, [list(row.values()) for row in self.per_class])


def _image_key(kept: Any) -> tuple[str, str, bytes]:
    """Return what is equal for an image that a sampler repeats; two datasets may show one image with other objects."""
    gt = getattr(kept, 'gt_instances', None)
    objects = b'' if gt is None else np.asarray(gt.labels).tobytes() + np.asarray(gt.bboxes).tobytes()
    return kept.img_path, str(kept.img_id), objects


def keeps_samples(metric: BaseMetric) -> bool:
    """Return whether a metric keeps each image's ground truth and predictions."""
    return isinstance(metric, GatheredMetric) and bool(metric.needs) and 'panoptic' not in metric.needs


def count_objects(samples: Sequence[DetDataSample], num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how many objects of each class count, and how many images hold such, ``(C,)`` each.

    Args:
        samples: evaluated, at least one.
        num_classes: C.
    """
    labels = [gt.labels[~gt.ignored] for gt in (sample.gt_instances for sample in samples)]
    objects = np.bincount(np.concatenate(labels), minlength=num_classes)
    return objects, np.bincount(np.concatenate([np.unique(each) for each in labels]), minlength=num_classes)


def instance_labels(samples: Sequence[DetDataSample]) -> list[np.ndarray]:
    """Return the labels of all objects and predictions, array by array."""
    return [each.labels for sample in samples for each in (sample.gt_instances, sample.pred_instances)]


def is_defined(value: float) -> bool:
    """Return whether a result says anything: COCO's -1 (no object to find) and NaN do not."""
    return math.isfinite(value) and value != -1
