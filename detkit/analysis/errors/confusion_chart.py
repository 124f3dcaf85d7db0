"""The confusion matrix as a chart and as a CSV file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from detkit.analysis.charts import save_figure
from detkit.utils.tables import write_csv

_NAMED_CLASSES = 100  # more names than that don't fit beside a matrix
_LARGE_NAMES = 40  # nor more than that in a large font
_NUMBERED_CLASSES = 20  # more numbers than that aren't read


def plot_confusion(confusion: np.ndarray, classes: Sequence[str]) -> Figure:
    """Plot a confusion matrix; colours are shares of the true class's images.

    Args:
        confusion: ``(C, C)`` counts, rows the true classes, columns the predicted ones.
        classes: their names.
    """
    count = len(confusion)
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    side = min(max(4.2, 0.42 * count + 2.2), 14)
    figure = Figure(figsize=(side + 1, side), dpi=110, layout='constrained')
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap='Blues', vmin=0, vmax=1, interpolation='nearest')
    if count <= _NAMED_CLASSES:
        size = 8 if count <= _LARGE_NAMES else 6.5
        axes.set_xticks(range(count), classes, rotation=90 if count > 4 else 0, fontsize=size)
        axes.set_yticks(range(count), classes, fontsize=size)
    if count <= _NUMBERED_CLASSES:
        for row, column in zip(*np.nonzero(confusion), strict=True):
            axes.text(
                column,
                row,
                confusion[row, column],
                ha='center',
                va='center',
                fontsize=8,
                color='white' if shares[row, column] > 0.55 else 'black',
            )
    axes.set_xlabel('predicted')
    axes.set_ylabel('true')
    figure.colorbar(image, shrink=0.8, label='share of the true class')
    return figure


def write_confusion(confusion: np.ndarray, classes: Sequence[str], folder: str | Path) -> None:
    """Write ``confusion_matrix.png`` and ``.csv``, with a row for each true class and a column for each predicted one.

    Args:
        folder: where to write; it is made if need be.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [[name, *row] for name, row in zip(classes, confusion.tolist(), strict=True)]
    write_csv(folder / 'confusion_matrix.csv', ['true \\ predicted', *classes], rows)
    save_figure(plot_confusion(confusion, classes), folder / 'confusion_matrix.png')
