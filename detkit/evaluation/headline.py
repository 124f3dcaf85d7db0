"""The results of metrics that consoles, tables and charts show and that choose the best weights: metrics declare them.

Results are known here by their names alone (``coco/bbox_mAP``), so that the files of a finished run can be read, too.
"""

import math
from collections.abc import Iterable, Mapping

from detkit.evaluation.gathered_metric import GatheredMetric, is_defined
from detkit.registry import METRICS


def declaring_metric(name: str) -> type[GatheredMetric] | None:
    """Return the registered metric that a result belongs to, or None.

    It is the metric with the result's prefix or, where a config or a log chose another prefix (``train/top1``), the
    first one that declares a result of this name.
    """
    prefix, _, result = name.rpartition('/')
    metrics = [METRICS.get(registered) for registered in METRICS.names()]
    metrics = [metric for metric in metrics if isinstance(metric, type) and issubclass(metric, GatheredMetric)]
    for metric in metrics:
        if metric.default_prefix == prefix.rpartition('/')[2]:
            return metric
    return next((metric for metric in metrics if result in metric.declared()), None)


def headline_names(names: Iterable[str]) -> list[str]:
    """Return those of ``names`` that their metrics declare as headline, in the order given."""
    return [name for name in names if (metric := declaring_metric(name)) and _result(name) in metric.headline]


def chart_title(name: str) -> str | None:
    """Return the title of the chart that a result is drawn in; None for a result that its metric puts in no chart."""
    metric = declaring_metric(name)
    charts = metric.charts if metric else {}
    return next((title for title, names in charts.items() if _result(name) in names), None)


def higher_is_better(name: str) -> bool:
    """Return whether a greater value of a result is the better one; True for a result that no metric declares."""
    metric = declaring_metric(name)
    return metric is None or _result(name) not in metric.lower_is_better


def fitness(results: Mapping[str, float], key: str = 'fitness') -> float | None:
    """Return how good a validation was, greater is better.

    Args:
        results: the results of all metrics, as ``{'coco/bbox_mAP': .5, 'coco/bbox_mAP50': .7, …}``.
        key: 'fitness' for the sum of the metrics' own (``GatheredMetric.fitness``); or the name of a result, as
            'accuracy/top1'; or the end of one, which stands for the sum of all headline results that end so ('mAP' for
            ``coco/bbox_mAP`` and ``coco/segm_mAP``).

    Returns:
        None where no result says anything about it: COCO's -1 (no object to find) and NaN do not.
    """
    if key in results:
        value = float(results[key])
        undefined = math.isnan(value) or (declaring_metric(key) is not None and not is_defined(value))
        return None if undefined else value if higher_is_better(key) else -value
    groups: dict[str, dict[str, float]] = {}
    for name, value in results.items():
        groups.setdefault(name.rpartition('/')[0], {})[_result(name)] = float(value)
    parts = []
    for prefix, group in groups.items():
        metric = next((kind for name in group if (kind := declaring_metric(f'{prefix}/{name}'))), None)
        if metric is not None:
            parts.append(metric.fitness(group) if key == 'fitness' else _sum_of(group, key, metric))
    parts = [part for part in parts if part is not None]
    return sum(parts) if parts else None


def _sum_of(results: Mapping[str, float], key: str, metric: type[GatheredMetric]) -> float | None:
    names = [key] if key in results else [name for name in results if name.endswith(f'_{key}')]
    names = [name for name in names if name in metric.headline and is_defined(results[name])]
    return sum(results[name] for name in names) if names else None


def _result(name: str) -> str:
    return name.rpartition('/')[2]
