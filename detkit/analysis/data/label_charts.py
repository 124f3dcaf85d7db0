"""Charts of the annotations of a dataset."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from detkit.analysis.charts import COLOURS
from detkit.analysis.data.label_statistics import LabelStatistics

_NAMED_CLASSES = 100  # more don't fit one above the other
_LARGE_NAMES = 30
_BINS = 50


def plot_labels(found: LabelStatistics) -> Figure:
    """Plot class frequencies and, for a detector's data, the objects an image, their positions and sizes."""
    with_objects = len(found.per_image) > 0
    present = min(int(np.count_nonzero(found.counts)), _NAMED_CLASSES)
    least = 6.4 if with_objects else 1.2 + 0.25 * min(present, _LARGE_NAMES)
    figure = Figure(figsize=(10.5 if with_objects else 5.5, max(least, 0.14 * present)), dpi=110, layout='constrained')
    if not with_objects:
        _class_bars(figure.add_subplot(), found, 'images')
        return figure
    grid = figure.add_gridspec(2, 3)
    _class_bars(figure.add_subplot(grid[:, 0]), found, 'objects')
    _per_image(figure.add_subplot(grid[0, 1]), found.per_image)
    _density(figure, figure.add_subplot(grid[1, 1]), found.bboxes[:, :2], 'centres', 'x', 'y').invert_yaxis()
    _density(figure, figure.add_subplot(grid[1, 2]), found.bboxes[:, 2:], 'sizes', 'width', 'height')
    _areas(figure.add_subplot(grid[0, 2]), found.bboxes)
    return figure


def _class_bars(axes: Axes, found: LabelStatistics, what: str) -> None:
    order = np.argsort(-found.counts, kind='stable')
    order = order[found.counts[order] > 0]
    counts = found.counts[order]
    named = len(order) <= _NAMED_CLASSES
    axes.barh(range(len(order)), counts, height=0.75 if named else 1.0, color=COLOURS[0])
    if named:
        size = 8 if len(order) <= _LARGE_NAMES else 6.5
        axes.set_yticks(range(len(order)), [found.classes[label] for label in order], fontsize=size)
        for place, count in enumerate(counts.tolist()):
            axes.text(count, place, f' {count:,}', va='center', fontsize=size)
        axes.set_xlim(0, 1.2 * max(1, counts.max(initial=0)))
        axes.set_ylim(len(order) - 0.4, -0.6)
        axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    else:
        axes.set_ylabel('classes, the most frequent first', fontsize=9)
        axes.set_xscale('log')
        axes.set_ylim(len(order), 0)
        axes.tick_params(axis='y', labelsize=8)
    absent = len(found.classes) - len(order)
    text = f'{counts.sum():,} {what} of {len(order):,} classes'
    axes.set_title(text + (f', {absent:,} without any' if absent else ''), fontsize=10)
    axes.tick_params(axis='x', labelsize=8)
    axes.spines[['top', 'right']].set_visible(False)


def _per_image(axes: Axes, per_image: np.ndarray) -> None:
    highest = int(per_image.max())
    bins = np.arange(highest + 2) - 0.5 if highest < _BINS else _BINS
    axes.hist(per_image, bins, color=COLOURS[2])
    axes.set_title(f'objects an image, {per_image.mean():.1f} on average', fontsize=10)
    axes.set_ylabel('images', fontsize=9)
    _tidy(axes)


def _areas(axes: Axes, bboxes: np.ndarray) -> None:
    sides = np.sqrt(np.clip(bboxes[:, 2] * bboxes[:, 3], 1e-8, 1))
    axes.hist(sides, np.linspace(0, 1, _BINS + 1), color=COLOURS[1])
    axes.set_title('size: root of the share of the image', fontsize=10)
    axes.set_ylabel('objects', fontsize=9)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    _tidy(axes, integer=False)


def _tidy(axes: Axes, integer: bool = True) -> None:
    if integer:
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.tick_params(labelsize=8)
    axes.spines[['top', 'right']].set_visible(False)


def _density(figure: Figure, axes: Axes, points: np.ndarray, title: str, x: str, y: str) -> Axes:
    """Draw the density of points ``(N, 2)`` in the unit square."""
    counts, _, _ = np.histogram2d(points[:, 1], points[:, 0], _BINS, ((0, 1), (0, 1)))
    image = axes.imshow(
        np.ma.masked_equal(counts, 0),
        cmap='viridis_r',
        vmin=0,
        extent=(0, 1, 0, 1),
        origin='lower',
        interpolation='nearest',
    )
    axes.set_title(f'{title} as shares of the image', fontsize=10)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.tick_params(labelsize=8)
    bar = figure.colorbar(image, ax=axes, shrink=0.7)
    bar.locator = MaxNLocator(4, integer=True)
    bar.update_ticks()
    bar.ax.tick_params(labelsize=8)
    return axes
