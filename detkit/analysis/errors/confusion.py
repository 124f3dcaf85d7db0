"""The confusion matrix of a model as numbers, chart and CSV file; for detectors with background as a class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from detkit.analysis.charts import label_text, save_figure
from detkit.analysis.errors.evaluated_model import EvaluatedModel
from detkit.analysis.errors.matching import KIND_NAMES, overlaps_of, uncounted
from detkit.structures.data_sample import DetDataSample, predicted_class
from detkit.utils.tables import text_table, write_csv

BACKGROUND = 'background'

_NAMED_CLASSES = 100  # more names than that don't fit beside a matrix
_LARGE_NAMES = 40  # nor more than that in a large font
_TABLE_ROWS = 15
_NUMBERED_CLASSES = 20  # more numbers than that aren't read


def confusion_matrix(
    results: Sequence[DetDataSample],
    class_count: int,
    kind: str = 'bbox',
    score_thr: float = 0.25,
    iou_thr: float = 0.5,
    sigmas: Sequence[float] | None = None,
) -> np.ndarray:
    """Count objects by true and predicted class.

    Predictions and objects are paired whatever their classes, those that overlap most first, each once. An unpaired
    prediction counts as background, unless it lies on an object that does not count (``uncounted``); so does an
    unpaired object.

    Args:
        results: evaluated samples, one of each image.
        class_count: C.
        kind: the kind of overlap, see ``overlaps_of``.
        score_thr: predictions below it do not count.
        iou_thr: least overlap of a pair.
        sigmas: OKS sigmas of the keypoints, see ``match``.

    Returns:
        ``(C + 1, C + 1)`` int64, rows the true classes, columns the predicted ones, the last of each background.
    """
    counts = np.zeros((class_count + 1, class_count + 1), np.int64)
    for result in results:
        gt, pred = result.gt_instances, result.pred_instances
        overlaps = overlaps_of(result, kind, sigmas)
        left_out = uncounted(gt, kind)
        sure, real = np.flatnonzero(pred.scores >= score_thr), np.flatnonzero(~left_out)
        pairs = pair_up(overlaps[np.ix_(sure, real)], iou_thr)
        true, predicted = gt.labels[real], pred.labels[sure]
        np.add.at(counts, (true[pairs[:, 1]], predicted[pairs[:, 0]]), 1)
        np.add.at(counts, (np.delete(true, pairs[:, 1]), class_count), 1)
        ignored = (overlaps[sure][:, left_out] >= iou_thr).any(1)
        ignored[pairs[:, 0]] = True
        np.add.at(counts, (class_count, predicted[~ignored]), 1)
    return counts


def pair_up(overlaps: np.ndarray, iou_thr: float) -> np.ndarray:
    """Pair rows and columns of overlaps ``(D, N)``, the largest first, down to ``iou_thr``, each once; ``(P, 2)``."""
    rows, columns = np.nonzero(overlaps >= iou_thr)
    order = np.argsort(-overlaps[rows, columns], kind='stable')
    pairs, taken_rows, taken_columns = [], set(), set()
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in taken_rows and column not in taken_columns:
            pairs.append((row, column))
            taken_rows.add(row)
            taken_columns.add(column)
    return np.array(pairs, np.int64).reshape(-1, 2)


def plot_confusion(confusion: np.ndarray, classes: Sequence[str], basis: str = '') -> Figure:
    """Plot a confusion matrix: counts as numbers, the share of each count in its row, of the true class, as colours.

    Args:
        confusion: ``(C, C)`` counts, rows the true classes, columns the predicted ones.
        classes: their names.
        basis: what is counted, the second line of the title.
    """
    count = len(confusion)
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    side = min(max(4.2, 0.42 * count + 2.2), 14)
    figure = Figure(figsize=(side + 1, side), dpi=110, layout='constrained')
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap='Blues', vmin=0, vmax=1, interpolation='nearest')
    if count <= _NAMED_CLASSES:
        size = 8 if count <= _LARGE_NAMES else 6.5
        names = [label_text(name) for name in classes]
        axes.set_xticks(range(count), names, rotation=90 if count > 4 else 0, fontsize=size)
        axes.set_yticks(range(count), names, fontsize=size)
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
    axes.set_xlabel('predicted class')
    axes.set_ylabel('true class')
    numbers = 'numbers are counts, ' if count <= _NUMBERED_CLASSES else ''
    title = f'{numbers}colours are shares of the row'
    axes.set_title('\n'.join((title, *(label_text(line, 300) for line in basis.splitlines()))), fontsize=9)
    figure.colorbar(image, shrink=0.8, label='share of the row (true class)')
    return figure


def write_confusion(confusion: np.ndarray, classes: Sequence[str], folder: str | Path, basis: str = '') -> None:
    """Write ``confusion_matrix.png`` and ``.csv``, with a row for each true class and a column for each predicted one.

    Args:
        folder: where to write; it is made if need be.
        basis: as for ``plot_confusion``.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [[name, *row] for name, row in zip(classes, confusion.tolist(), strict=True)]
    write_csv(folder / 'confusion_matrix.csv', ['true \\ predicted', *classes], rows)
    save_figure(plot_confusion(confusion, classes, basis), folder / 'confusion_matrix.png')


def write_confusion_matrix(
    model: EvaluatedModel,
    folder: str | Path,
    kind: str | None = None,
    score_thr: float = 0.25,
    iou_thr: float = 0.5,
) -> str:
    """Write ``confusion_matrix.png`` and ``.csv``; for detectors with background as a class of its own.

    Classes that are neither in the data nor predicted are left out.

    Args:
        model: evaluated.
        folder: where to write; it is made if need be.
        kind: the kind of overlap; the config's last if None.
        score_thr, iou_thr: those of ``confusion_matrix``.

    Returns:
        A table of the most frequent confusions.
    """
    basis, note = '', ''
    if model.classifies:
        names = np.array(model.classes)
        true, predicted = np.array([(sample.gt_label, predicted_class(sample)) for sample in model.results]).T
        counts, answered = np.zeros((len(names), len(names)), np.int64), predicted >= 0
        np.add.at(counts, (true[answered], predicted[answered]), 1)
        occurring = np.unique(np.concatenate([true, predicted[answered]]))
        if not answered.all():
            note = f'\n{(~answered).sum()} images are in no column: their scores are infinite or not a number'
    else:
        kind = model.chosen_kind(kind, 'boxes')
        names = np.array([*model.classes, BACKGROUND])
        counts = confusion_matrix(
            model.results, len(model.classes), kind, score_thr, iou_thr, model.metainfo.get('sigmas')
        )
        basis = (
            f'scores from {score_thr:g}, overlaps ({KIND_NAMES[kind]}) from {iou_thr:g}\n'
            'background column: objects not found\nbackground row: predictions on no object'
        )
        occurring = np.flatnonzero(counts.sum(0) + counts.sum(1))
    counts, names = counts[np.ix_(occurring, occurring)], names[occurring]
    write_confusion(counts, names.tolist(), folder, basis)
    wrong = counts * (1 - np.eye(len(counts), dtype=np.int64))
    order = np.argsort(-wrong, axis=None, kind='stable')[:_TABLE_ROWS]
    rows = [
        [names[i], names[j], str(wrong[i, j]), f'{wrong[i, j] / counts[i].sum():.1%}']
        for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True)
        if wrong[i, j]
    ]
    if not rows:
        return f'nothing is confused{note}'
    return text_table(['true', 'taken for', 'times', 'of the true'], rows, left=(0, 1)) + note
