"""Charts of datasets: classes, objects an image, sizes, shapes, positions; several splits, or all of one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from detkit.analysis.charts import COLOURS, count_bar, label_text, panel, style
from detkit.analysis.data.annotations_table import SplitTable

_WIDTH, _HEIGHT = 3.4, 2.4  # inches: legible on a phone, and in a row of four
NAMED_CLASSES = 20
_BINS = 32
_FINE_BINS = 50  # of ``plot_labels``
_MOST_NAMES = 100  # of classes that fit one above the other
_LARGE_NAMES = 30
_ASPECTS = np.array([1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8, 16])


def plot_class_counts(counts: Sequence[np.ndarray], splits: Sequence[str], classes: Sequence[str], what: str) -> Figure:
    """Plot how often each class occurs, or the 20 most frequent ones.

    Args:
        counts: ``(C,)`` of each split.
        splits: their names.
        classes: names of the labels.
        what: name of what is counted.
    """
    total = np.sum(counts, 0)
    order = np.argsort(-total, kind='stable')
    order = order[total[order] > 0][:NAMED_CLASSES]
    figure, axes = _panel(height=1.2 + 0.2 * max(3, len(order)))
    _bars(axes, [own[order] for own in counts], splits, [label_text(classes[label]) for label in order])
    if len(order) and total.max() > 50 * max(1, total[order].min()):
        axes.set_xscale('log')
        what += ' (logarithmic)'
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel(what)
    _legend(axes, len(splits))
    return figure


def plot_per_image(tables: Sequence[SplitTable]) -> Figure:
    """Plot a histogram of the objects an image, as shares of each split's images."""
    figure, axes = _panel()
    most = max(int(table.per_image.max(initial=0)) for table in tables)
    width = -(-(most + 1) // _BINS)  # whole numbers, so that no bar holds more of them than its neighbours
    bins = np.arange(0, most + width + 1, width) - 0.5
    _histograms(axes, [table.per_image for table in tables], bins, tables)
    axes.set_xlabel('objects an image')
    axes.set_ylabel('share of the images')
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return figure


def plot_object_sizes(tables: Sequence[SplitTable]) -> Figure:
    """Plot a histogram of the objects' sizes: the square roots of their shares of the image."""
    figure, axes = _panel()
    sides = []
    for table in tables:
        areas = table.object_shapes.prod(1)
        known = (areas > 0) & ~table.ignored
        sides.append(np.sqrt((table.sizes_wh.prod(1)[known] / areas[known]).clip(0, 1)))
    _histograms(axes, sides, np.linspace(0, 1, _BINS + 1), tables)
    axes.set_xlabel("object's side : image's side (roots of areas)")
    axes.set_ylabel('share of the objects')
    return figure


def plot_aspects(tables: Sequence[SplitTable]) -> Figure:
    """Plot a histogram of the ratios of width to height, or of the long side to the short one of rotated boxes."""
    figure, axes = _panel()
    rotated = any(table.rbboxes is not None for table in tables)
    low, high = (1, 16) if rotated else (1 / 16, 16)
    ratios = []
    for table in tables:
        wh = np.maximum(table.sizes_wh[~table.ignored], 1e-6)
        ratios.append((wh[:, 0] / wh[:, 1]).clip(low, high))
    _histograms(axes, ratios, np.geomspace(low, high, _BINS + 1), tables)
    axes.set_xscale('log')
    ticks = _ASPECTS[_ASPECTS >= low]
    axes.set_xticks(ticks, [f'{tick:g}:1' if tick >= 1 else f'1:{1 / tick:g}' for tick in ticks], fontsize=8)
    axes.minorticks_off()
    axes.set_xlabel('long side : short side' if rotated else 'width : height')
    axes.set_ylabel('share of the objects')
    return figure


def plot_angles(tables: Sequence[SplitTable]) -> Figure:
    """Plot a histogram of the directions of the long sides of rotated boxes."""
    figure, axes = _panel()
    angles = [
        np.degrees(table.rbboxes[~table.ignored, 4]) if table.rbboxes is not None else np.zeros(0) for table in tables
    ]
    _histograms(axes, angles, np.linspace(-45, 135, _BINS + 1), tables)
    axes.set_xticks([-45, 0, 45, 90, 135])
    axes.set_xlabel('angle of the long side, degrees clockwise')
    axes.set_ylabel('share of the objects')
    return figure


def plot_image_sizes(tables: Sequence[SplitTable]) -> Figure:
    """Plot widths and heights of the images; a larger dot stands for more images."""
    figure, axes = _panel()
    sides = [1]
    for split, table in enumerate(tables):
        shapes, counts = np.unique(table.shapes[(table.shapes > 0).all(1)], axis=0, return_counts=True)
        sizes = 12 + 300 * counts / max(1, counts.sum())
        axes.scatter(
            shapes[:, 1],
            shapes[:, 0],
            sizes,
            color=COLOURS[split],
            alpha=0.55,
            linewidths=0,
            label=label_text(table.name),
        )
        sides += shapes.ravel().tolist()
    low, high = min(sides[1:], default=0), max(sides)
    margin = 0.1 * (high - low) + 0.02 * high  # dots must not lie on the axes, nor a single size in a corner
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(low - margin, high + margin)
    axes.set_xlabel("images' width in pixels")
    axes.set_ylabel('height')
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    _legend(axes, len(tables), same_size=True)
    return figure


def plot_centres(table: SplitTable) -> Figure:
    """Plot how many objects have their centre in each cell of a grid over the image."""
    figure, axes = _panel()
    wh = table.object_shapes[:, ::-1]
    known = (wh > 0).all(1) & ~table.ignored
    centres = (table.bboxes[known, :2] + table.bboxes[known, 2:]) / 2 / wh[known]
    fields = int(np.clip(np.sqrt(len(centres)), 8, 40))
    counts, _, _ = np.histogram2d(centres[:, 1], centres[:, 0], fields, ((0, 1), (0, 1)))
    image = axes.imshow(counts, cmap='Blues', vmin=0, extent=(0, 1, 1, 0), interpolation='nearest', aspect='auto')
    axes.set_xticks([0, 0.5, 1], ['left', 'middle', 'right'])
    axes.set_yticks([0, 0.5, 1], ['top', 'middle', 'bottom'])
    count_bar(figure, axes, image, shrink=0.8)
    axes.grid(False)
    return figure


def plot_keypoints(tables: Sequence[SplitTable], names: Sequence[str]) -> Figure:
    """Plot the share of the objects that have each keypoint labelled."""
    figure, axes = _panel(height=1.2 + 0.2 * len(names))
    labelled = [
        np.zeros(len(names))
        if table.keypoints is None or not len(table.keypoints)
        else (table.keypoints[~table.ignored, :, 2] > 0).mean(0)
        for table in tables
    ]
    _bars(axes, labelled, [table.name for table in tables], names)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel('share of the objects that have it labelled')
    _legend(axes, len(tables))
    return figure


def _panel(height: float = _HEIGHT) -> tuple[Figure, Axes]:
    figure, axes = panel(_WIDTH, height)
    axes.set_axisbelow(True)
    return figure, axes


def _bars(axes: Axes, values: Sequence[np.ndarray], splits: Sequence[str], names: Sequence[str]) -> None:
    """Draw a group of horizontal bars for each name, with a bar for each split."""
    height = 0.8 / len(splits)
    for number, (own, split) in enumerate(zip(values, splits, strict=True)):
        positions = np.arange(len(names)) + (number - (len(splits) - 1) / 2) * height
        axes.barh(positions, own, height, color=COLOURS[number], label=label_text(split))
    axes.set_yticks(range(len(names)), [label_text(name) for name in names], fontsize=8)
    axes.set_ylim(len(names) - 0.4, -0.6)


def _histograms(axes: Axes, values: Sequence[np.ndarray], bins: np.ndarray, tables: Sequence[SplitTable]) -> None:
    """Draw histograms over each other, the first one filled; each sums up to 1."""
    for split, (own, table) in enumerate(zip(values, tables, strict=True)):
        weights = np.full(len(own), 1 / max(1, len(own)))
        axes.hist(
            own,
            bins,
            weights=weights,
            histtype='stepfilled' if not split else 'step',
            color=COLOURS[split],
            alpha=0.45 if not split else 1.0,
            linewidth=1.6,
            label=label_text(table.name),
        )
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0 if axes.get_ylim()[1] > 0.06 else 1))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    _legend(axes, len(tables))


def _legend(axes: Axes, count: int, same_size: bool = False) -> None:
    """Draw the legend above the chart, where it hides nothing."""
    if count > 1:
        legend = axes.legend(
            fontsize=8, frameon=False, loc='lower right', bbox_to_anchor=(1, 1), ncols=count, borderaxespad=0.1
        )
        if same_size:
            for handle in legend.legend_handles:
                handle.set_sizes([36])


def plot_labels(table: SplitTable) -> Figure:
    """Plot class frequencies and, for a detector's data, the objects an image, their positions and sizes.

    Sizes and positions are those of the objects whose image's size is known.
    """
    counts = table.class_counts()[1]
    with_objects = table.class_labels is None
    present = min(int(np.count_nonzero(counts)), _MOST_NAMES)
    least = 6.4 if with_objects else 1.2 + 0.25 * min(present, _LARGE_NAMES)
    figure = Figure(figsize=(10.5 if with_objects else 5.5, max(least, 0.14 * present)), dpi=110, layout='constrained')
    if not with_objects:
        _class_bars(figure.add_subplot(), counts, table.classes, 'images')
        return figure
    wh = table.shapes[table.images][:, ::-1]
    known = (wh > 0).all(1) & ~table.ignored
    # The precision of the annotations, so that an object on the edge of a bin is where its reader put it.
    x0, y0, x1, y1 = (table.bboxes[known].astype(np.float32) / np.tile(wh[known], 2).astype(np.float32)).T
    grid = figure.add_gridspec(2, 3)
    _class_bars(figure.add_subplot(grid[:, 0]), counts, table.classes, 'objects')
    _per_image_bars(figure.add_subplot(grid[0, 1]), table.per_image)
    centres = _density(figure, figure.add_subplot(grid[1, 1]), (x0 + x1) / 2, (y0 + y1) / 2)
    centres.set(title='centres as shares of the image', xlabel='x', ylabel='y')
    centres.invert_yaxis()
    sizes = _density(figure, figure.add_subplot(grid[1, 2]), x1 - x0, y1 - y0)
    sizes.set(title='sizes as shares of the image', xlabel='width', ylabel='height')
    _size_bars(figure.add_subplot(grid[0, 2]), np.sqrt(np.clip((x1 - x0) * (y1 - y0), 1e-8, 1)))
    for axes in figure.axes:
        axes.title.set_size(10)
    return figure


def _class_bars(axes: Axes, all_counts: np.ndarray, classes: Sequence[str], what: str) -> None:
    order = np.argsort(-all_counts, kind='stable')
    order = order[all_counts[order] > 0]
    counts = all_counts[order]
    named = len(order) <= _MOST_NAMES
    style(axes, grid='')
    axes.barh(range(len(order)), counts, height=0.75 if named else 1.0, color=COLOURS[0])
    if named:
        size = 8 if len(order) <= _LARGE_NAMES else 6.5
        axes.set_yticks(range(len(order)), [label_text(classes[label]) for label in order], fontsize=size)
        for row, count in enumerate(counts.tolist()):
            axes.text(count, row, f' {count:,}', va='center', fontsize=size)
        axes.set_xlim(0, 1.2 * max(1, counts.max(initial=0)))
        axes.set_ylim(len(order) - 0.4, -0.6)
        axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    else:
        axes.set_ylabel('classes, the most frequent first')
        axes.set_xscale('log')
        axes.set_ylim(len(order), 0)
    absent = len(classes) - len(order)
    text = f'{counts.sum():,} {what} of {len(order):,} classes'
    axes.set_title(text + (f', {absent:,} without any' if absent else ''), fontsize=10)


def _per_image_bars(axes: Axes, per_image: np.ndarray) -> None:
    highest = int(per_image.max())
    axes.hist(per_image, np.arange(highest + 2) - 0.5 if highest < _FINE_BINS else _FINE_BINS, color=COLOURS[2])
    axes.set(title=f'objects an image, {per_image.mean():.1f} on average', ylabel='images')
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    style(axes, grid='')


def _size_bars(axes: Axes, sides: np.ndarray) -> None:
    axes.hist(sides, np.linspace(0, 1, _FINE_BINS + 1), color=COLOURS[1])
    axes.set(title='size: root of the share of the image', ylabel='objects', xlim=(0, 1))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    style(axes, grid='')


def _density(figure: Figure, axes: Axes, x: np.ndarray, y: np.ndarray) -> Axes:
    """Draw the density of points in the unit square."""
    counts, _, _ = np.histogram2d(y, x, _FINE_BINS, ((0, 1), (0, 1)))
    image = axes.imshow(
        np.ma.masked_equal(counts, 0),
        cmap='viridis_r',
        vmin=0,
        extent=(0, 1, 0, 1),
        origin='lower',
        interpolation='nearest',
    )
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_size(9)
    axes.yaxis.label.set_size(9)
    count_bar(figure, axes, image, shrink=0.7)
    return axes
