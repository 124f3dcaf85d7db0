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

from detkit.utils.errors import DataError

COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#444444')  # told apart by anyone
_ACCURACIES = ('top1', 'top5')
_QUALITIES = ('PQ', 'SQ', 'RQ')
_HEADLINE = ('mAP', 'mAP50', 'mAP75')  # of a task's many figures, those worth a curve

Curves = dict[str, tuple[np.ndarray, np.ndarray]]


def read_results(path: str | Path, axes: Sequence[str] = ('epoch', 'step', 'iter')) -> Curves:
    """The columns of ``results.csv`` or, from a file of another name, of JSON lines such as ``scalars.json``.

    Args:
        path: the file.
        axes: columns of which the first that a row states is x.

    Returns:
        per column name x and y, of the rows that state it. Later rows for the same
        x replace earlier ones, as after a resumed run. What precedes the last '/' is the group ('train/box').

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


def plot_curves(curves: Curves, path: str | Path) -> int:
    """Write a picture with a panel for each loss, each task's average precision and the learning rates.

    Args:
        curves: as ``read_results`` returns them.
        path: the PNG to write.

    Returns:
        The number of panels; with none (nothing to show) no file is written.
    """
    panels = _panels(curves)
    if not panels:
        return 0
    columns = min(len(panels), 4)
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(3.7 * columns, 2.9 * rows), dpi=110, layout='tight')
    for place, (title, lines) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(rows, columns, place)
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
        if title.endswith(('precision', 'accuracy')):
            axes.set_ylim(0, max(0.05, *(1.08 * y.max() for _, y in lines.values())))
        if title == 'learning rate':
            axes.ticklabel_format(axis='y', style='sci', scilimits=(-2, 2))
    figure.savefig(path)
    return len(panels)


def _panels(curves: Curves) -> dict[str, Curves]:
    """Which curves share a panel: ``{title: {label: curve}}``, in reading order."""
    losses: dict[str, Curves] = {}
    precisions: dict[str, Curves] = {}
    others: dict[str, Curves] = {}
    rates: dict[str, Curves] = {}
    for name, (x, y) in curves.items():
        group, _, last = name.rpartition('/')
        root = group.split('/')[0]
        if last in _ACCURACIES:
            precisions.setdefault('accuracy', {})[f'{"train" if root == "train" else "val"} {last}'] = x, y
        elif last == 'cross_entropy':
            losses.setdefault('cls loss', {})['val'] = x, y
        elif root in ('train', 'val'):
            losses.setdefault(f'{last} loss', {})[root] = x, y
        elif root in ('metrics', 'coco', 'dota', 'accuracy'):
            task, _, figure = last.partition('_')
            if is_headline(task):
                task, figure = group.rpartition('/')[2], task
            defined = y >= 0  # COCO's -1: no object to measure it by
            if not defined.any():
                continue
            if is_headline(figure):
                title = f'{_TASKS.get(task, task)} average precision'
                precisions.setdefault(title, {})[figure] = x[defined], y[defined]
            elif not figure:
                others.setdefault(last, {})[last] = x[defined], y[defined]
        elif root == 'panoptic':
            if last in _QUALITIES and (y >= 0).any():
                precisions.setdefault('panoptic quality', {})[last] = x[y >= 0], y[y >= 0]
        elif root == 'lr' or name == 'lr':
            rates.setdefault('learning rate', {})[last] = x, y
    return losses | precisions | others | rates


_TASKS = {'bbox': 'box', 'segm': 'mask', 'dota': 'rotated box'}


def is_headline(figure: str) -> bool:
    """Whether a figure is worth a curve; also of a variant such as 'mAP50-voc07'."""
    return figure.partition('-')[0] in _HEADLINE


def _number(value: object) -> float | None:
    """None for what is no finite number: a blank cell, a name."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
