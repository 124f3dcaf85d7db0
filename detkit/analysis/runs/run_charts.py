"""A chart of the metrics of several runs: a panel for each metric, a line for each run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from detkit.analysis.charts import COLOURS
from detkit.analysis.runs.run_logs import AXES, RunLog, best_index, is_metric, smooth

_STYLES = ('-', '--', ':', '-.')
_COLUMNS = 3
_FEW_POINTS = 25


def plot_runs(runs: Sequence[RunLog], names: Sequence[str], weight: float = 0.0, axis: str = 'epoch') -> Figure:
    """Plot the curves of several runs.

    Args:
        runs: the runs, each with a colour, and with dashes beyond seven.
        names: of the metrics, each with a panel.
        weight: of the smoothing, 0 for none. Smoothed curves are drawn over the pale values.
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
        axes.set_title(name, fontsize=11)
        if index >= len(names) - columns:
            axes.set_xlabel(AXES[axis], fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=axis != 'time'))
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
        axes.spines[['top', 'right']].set_visible(False)
        if name.startswith('lr'):
            axes.ticklabel_format(axis='y', style='sci', scilimits=(-2, 2))
    handles = [lines[number] for number in sorted(lines)]
    figure.legend(
        handles,
        [runs[number].label for number in sorted(lines)],
        loc='outside lower center',
        ncols=min(len(handles), 2 * columns),
        fontsize=9,
        frameon=False,
    )
    return figure


def _draw(axes: Axes, run: RunLog, name: str, number: int, weight: float) -> object:
    x, y = run.curves[name]
    colour, style = COLOURS[number % len(COLOURS)], _STYLES[number // len(COLOURS) % len(_STYLES)]
    marker = 'o' if len(x) < _FEW_POINTS else None
    smoothed = smooth(name, y, weight)
    if smoothed is not y:
        axes.plot(x, y, color=colour, linewidth=1, alpha=0.25)
    (line,) = axes.plot(x, smoothed, color=colour, linestyle=style, linewidth=1.6, marker=marker, markersize=3)
    if is_metric(name):
        best = best_index(name, y)
        axes.plot(x[best], y[best], marker='*', color=colour, markersize=9, markeredgecolor='white', zorder=3)
    return line
