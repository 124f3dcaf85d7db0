"""``GatheredMetric``: what metrics share that look at all images at once, on one process."""

from __future__ import annotations

from typing import Any

from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process
from mmengine.evaluator import BaseMetric


class GatheredMetric(BaseMetric):
    """Base of metrics whose ``results`` have ``img_path`` and ``img_id``; a subclass writes the other two methods."""

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
            computed = self.compute_metrics([unique[key] for key in sorted(unique)])
            figures = [{f'{self.prefix}/{name}': value for name, value in computed.items()}]
        broadcast_object_list(figures)
        return figures[0]

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """The figures without prefix, of the images of all processes; runs on the main one."""
        raise NotImplementedError
