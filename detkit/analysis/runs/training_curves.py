"""Loss, average-precision and learning-rate curves of a run as one picture."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from detkit.analysis.charts import COLOURS
from detkit.evaluation.headline import chart_title, higher_is_better
from detkit.utils.errors import DataError

Curves = dict[str, tuple[np.ndarray, np.ndarray]]


def read_results(path: str | Path, axes: Sequence[str] = ('epoch', 'step', 'iter')) -> Curves:
    """Read the columns of ``results.csv`` or, from a file of another suffix, of JSON lines such as ``scalars.json``.

    Args:
        path: the file.
        axes: columns, of which the first that a row has is x.

    Returns:
        Name of the column -> x and y of the rows that have it. Later rows for the same x replace earlier ones, as
        after a resumed run. The part of a name before the last '/' is its group ('train/box').

    Raises:
        DataError: there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"'{path}' does not exist; give the results.csv or scalars.json of a run's folder.")
    with path.open(encoding='utf-8', newline='') as file:
        if path.suffix == '.csv':
            rows = [{key.strip(): value for key, value in row.items() if key} for row in csv.DictReader(file)]
        else:
            rows = [json.loads(line) for line in file if line.strip()]
    points: dict[str, dict[float, float]] = {}
    for row in rows:
        x = next((x for x in (_number(row.get(axis)) for axis in axes) if x is not None), None)
        if x is None:
            continue
        for name, value in row.items():
            number = _number(value)
            if number is not None and name not in ('epoch', 'step', 'iter'):
                points.setdefault(name, {})[x] = number
    return {name: (np.array(sorted(of)), np.array([of[x] for x in sorted(of)])) for name, of in points.items()}


def plot_curves(curves: Curves) -> Figure | None:
    """Plot a panel for each loss, each task's average precision and the learning rates.

    Args:
        curves: as ``read_results`` returns them.

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
            axes.plot(x, y, color=colour, label=label, linewidth=1.6, marker='o' if len(x) < 25 else None, markersize=3)
        axes.set_title(title, fontsize=11)
        axes.set_xlabel('epoch', fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
        axes.spines[['top', 'right']].set_visible(False)
        if len(lines) > 1:
            axes.legend(fontsize=8, framealpha=0.6)
        if title in bounded:
            axes.set_ylim(0, max(0.05, *(1.08 * y.max() for _, y in lines.values())))
        if title == 'learning rate':
            axes.ticklabel_format(axis='y', style='sci', scilimits=(-2, 2))
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
    return losses | results | others | rates


def _number(value: object) -> float | None:
    """Return a finite number, or None for anything else, such as a blank cell."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
