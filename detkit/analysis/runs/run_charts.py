"""Charts of training runs: the curves of one run, or a metric of several runs in each panel."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from detkit.analysis.charts import COLOURS, label_text, style
from detkit.analysis.runs.run_logs import AXES, FEW_POINTS, Curves, RunLog, best_index, is_metric, smooth
from detkit.evaluation.headline import chart_title, higher_is_better

_STYLES = ('-', '--', ':', '-.')
_COLUMNS = 3


def plot_curves(curves: Curves) -> Figure | None:
    """Plot a panel for each loss, each task's average precision and the learning rates.

    Args:
        curves: the result of ``read_results``.

    Returns:
        The chart; None if there is nothing to show.
    """
    panels = _panels(curves)
    if not panels:
        return None
    bounded = {chart_title(name) for name in curves if higher_is_better(name)}  # shares of 1
    columns = min(len(panels), 4)
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(3.7 * columns, 2.9 * rows), dpi=110, layout='tight')
    for index, (title, lines) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(rows, columns, index)
        for colour, (label, (x, y)) in zip(COLOURS * (len(lines) // len(COLOURS) + 1), lines.items(), strict=False):
            marker = 'o' if len(x) < FEW_POINTS else None
            axes.plot(x, y, color=colour, label=label_text(label, 300), linewidth=1.6, marker=marker, markersize=3)
        _finish(axes, title, 'epoch', scientific=title == 'learning rate')
        if len(lines) > 1 or title == 'learning rate':
            axes.legend(fontsize=8, framealpha=0.6)
        if title in bounded:
            axes.set_ylim(0, max(0.05, *(1.08 * y.max() for _, y in lines.values())))
    return figure


def _panels(curves: Curves) -> dict[str, Curves]:
    """Return which curves share a panel: ``{title: {label: curve}}``, in reading order."""
    losses: dict[str, Curves] = {}
    results: dict[str, Curves] = {}
    others: dict[str, Curves] = {}
    rates: dict[str, Curves] = {}
    titles = {name: chart_title(name) for name in curves}
    trained = {titles[name] for name in curves if name.startswith('train/')}
    for name, (x, y) in curves.items():
        group, _, last = name.rpartition('/')
        root, title = group.split('/')[0], titles[name]
        if root in ('lr', '') and name.startswith('lr'):
            rates.setdefault('learning rate', {})[last] = x, y
        elif title is None and root in ('train', 'val'):
            losses.setdefault(f'{last} loss', {})[root] = x, y
        elif title is not None and not higher_is_better(name):
            losses.setdefault(title, {})['val'] = x, y
        elif (y >= 0).any():  # COCO's -1: no object to measure it by
            defined = x[y >= 0], y[y >= 0]
            if title is not None:
                label = last.rpartition('_')[2]
                side = 'train ' if root == 'train' else 'val '
                results.setdefault(title, {})[side * (title in trained) + label] = defined
            elif root == 'metrics' and '_' not in last:
                others.setdefault(last, {})[last] = defined
    if rates:
        rates['learning rate'] = _joined(rates['learning rate'])
    return losses | results | others | rates


def _joined(curves: Curves) -> Curves:
    """Return one curve for each set of equal ones, labelled with all their names."""
    names: dict[bytes, list[str]] = {}
    for name, (x, y) in curves.items():
        names.setdefault(x.tobytes() + y.tobytes(), []).append(name)
    return {', '.join(same): curves[same[0]] for same in names.values()}


def plot_runs(runs: Sequence[RunLog], names: Sequence[str], weight: float = 0.0, axis: str = 'epoch') -> Figure:
    """Plot the curves of several runs.

    Args:
        runs: the runs, each with a colour, and with dashes beyond seven.
        names: names of the metrics, each with a panel.
        weight: weight of the smoothing, 0 for none. Smoothed curves are drawn over the pale values.
        axis: the x axis, see ``AXES``.
    """
    columns = min(_COLUMNS, len(names))
    rows = math.ceil(len(names) / columns)
    figure = Figure(figsize=(max(4.2 * columns, 5.5), 2.9 * rows + 0.6), dpi=110, layout='constrained')
    lines = {}
    for index, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, index + 1)
        for number, run in enumerate(runs):
            if name in run.curves:
                lines.setdefault(number, _draw(axes, run, name, number, weight))
        below = index >= len(names) - columns
        _finish(axes, name, AXES[axis] if below else '', axis != 'time', name.startswith('lr'))
    handles = [lines[number] for number in sorted(lines)]
    figure.legend(
        handles,
        [label_text(runs[number].label) for number in sorted(lines)],
        loc='outside lower center',
        ncols=min(len(handles), 2 * columns),
        fontsize=9,
        frameon=False,
    )
    return figure


def _draw(axes: Axes, run: RunLog, name: str, number: int, weight: float) -> object:
    x, y = run.curves[name]
    colour, style = COLOURS[number % len(COLOURS)], _STYLES[number // len(COLOURS) % len(_STYLES)]
    marker = 'o' if len(x) < FEW_POINTS else None
    smoothed = smooth(name, y, weight)
    if smoothed is not y:
        axes.plot(x, y, color=colour, linewidth=1, alpha=0.25)
    (line,) = axes.plot(x, smoothed, color=colour, linestyle=style, linewidth=1.6, marker=marker, markersize=3)
    if is_metric(name):
        best = best_index(name, y)
        axes.plot(x[best], y[best], marker='*', color=colour, markersize=9, markeredgecolor='white', zorder=3)
    return line


def _finish(axes: Axes, title: str, x: str, whole_numbers: bool = True, scientific: bool = False) -> None:
    axes.set_title(label_text(title), fontsize=11)
    axes.set_xlabel(x)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=whole_numbers, min_n_ticks=1))
    style(axes)
    if scientific:
        axes.ticklabel_format(axis='y', style='sci', scilimits=(-2, 2))
