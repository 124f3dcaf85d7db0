"""Objects that are far larger, smaller, wider or narrower than those of their class usually are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from detkit.analysis.data.annotations_table import SplitTable
from detkit.analysis.data.label_issues import LabelIssue, Limits

_SIGMA = 1.4826  # standard deviations of a normal distribution in its median absolute deviation


def find_unusual_sizes(tables: Sequence[SplitTable], limits: Limits) -> list[list[LabelIssue]]:
    """Return the objects of unusual size or shape of each split, the most unusual first; crowds are left out.

    Compared are logarithms of the size (the root of the object's share of its image's area) and of the aspect (width
    to height, or the long side to the short one of rotated boxes). An object is unusual if it differs from the median
    of its class in all splits both by ``limits.deviations`` robust standard deviations (Iglewicz and Hoaglin, 1993:
    1.4826 times the median absolute deviation) and by the factor ``limits.factor``: objects of a class that are all but
    equal have hardly any deviation.
    """
    sides, aspects, labels = (np.concatenate(parts) for parts in zip(*map(_measures, tables), strict=True))
    found: list[tuple[int, LabelIssue]] = []
    starts = np.cumsum([0, *(len(table.labels) for table in tables)])
    for label in np.unique(labels[labels >= 0]).tolist():
        own = np.flatnonzero(labels == label)
        if len(own) < limits.min_objects:
            continue
        for kinds, values in ((('small', 'large'), sides), (('narrow', 'wide'), aspects)):
            for index, factor, deviations in _outliers(values[own], limits):
                where = int(own[index])
                split = int(np.searchsorted(starts, where, 'right')) - 1
                kind = kinds[factor > 1]
                times = factor if factor > 1 else 1 / factor
                what = 'size' if values is sides else 'aspect'
                detail = (
                    f'{what} {times:.3g} times {"" if factor > 1 else "below "}the median, {deviations:.1f} deviations'
                )
                found.append((split, LabelIssue(kind, where - int(starts[split]), None, detail, deviations)))
    found.sort(key=lambda one: -one[1].deviations)
    return [[issue for own, issue in found if own == split] for split in range(len(tables))]


def rare_classes(tables: Sequence[SplitTable], limits: Limits) -> int:
    """Return how many classes occur, but too seldom to say what their usual size is."""
    counts = np.sum([table.class_counts()[1] for table in tables], 0)
    return int(((counts > 0) & (counts < limits.min_objects)).sum())


def _measures(table: SplitTable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return logarithms of the size and the aspect, and the label or -1 for one that is not compared, ``(N,)`` each."""
    wh, areas = table.sizes_wh, table.object_shapes.prod(1)
    used = ~table.ignored & (areas > 0) & (wh > 0).all(1)
    log_wh = np.log(np.where(used[:, None], wh, 1.0))
    sides = (log_wh.sum(1) - np.log(np.where(used, areas, 1.0))) / 2
    return sides, log_wh[:, 0] - log_wh[:, 1], np.where(used, table.labels, -1)


def _outliers(values: np.ndarray, limits: Limits) -> Iterator[tuple[int, float, float]]:
    """Yield the index of each unusual logarithm, the factor to the median, and the robust standard deviations."""
    distances = values - np.median(values)
    sizes = np.abs(distances)
    deviations = sizes / max(_SIGMA * float(np.median(sizes)), 1e-3)
    for index in np.flatnonzero((deviations > limits.deviations) & (sizes > np.log(limits.factor))).tolist():
        yield index, float(np.exp(distances[index])), float(deviations[index])
