"""``GatheredMetric``: what metrics share that look at all images at once, on one process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process
from mmengine.evaluator import BaseMetric


class GatheredMetric(BaseMetric):
    """Base of metrics over single images; a subclass writes ``image_result`` and ``compute_metrics``.

    Attributes:
        kinds: what the results of ``image_result`` can be matched by: of ``detkit.analysis.matching.KINDS``, or 'label'
            for classes of whole images.
        keep_results: whether ``kept_results`` is to hold, after an evaluation and on the main process, what it was made
            of: each image's result, by their paths. Whoever wants them sets it, and clears ``kept_results`` after use.
    """

    kinds: tuple[str, ...] = ()
    keep_results = False
    kept_results: Sequence[Any] = ()

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


def as_array(values: Any) -> np.ndarray:
    """Of a tensor, an array or a sequence."""
    return values.detach().cpu().numpy() if hasattr(values, 'detach') else np.asarray(values)
