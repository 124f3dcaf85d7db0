"""Files about a model's predictions on a dataset: confusion matrix, curves, types of errors with examples."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detkit.analysis.charts import save_figure
from detkit.analysis.errors.confusion import BACKGROUND, confusion_matrix
from detkit.analysis.errors.confusion_chart import write_confusion
from detkit.analysis.errors.curves import SCORES, ClassCurves, class_curves, mean_curves
from detkit.analysis.errors.error_examples import error_sheet
from detkit.analysis.errors.error_types import ERROR_TYPES, EXPLANATIONS, DeltaAP, classify_errors, delta_ap
from detkit.analysis.errors.evaluated_model import EvaluatedModel
from detkit.analysis.errors.evaluation_charts import plot_against_score, plot_delta_ap, plot_precision_recall
from detkit.analysis.errors.matching import KIND_NAMES, match
from detkit.evaluation.average_precision import COCO_RECALLS
from detkit.structures.data_sample import predicted_class
from detkit.utils.errors import ConfigError, DataError
from detkit.utils.pictures import write_picture
from detkit.utils.tables import text_table, write_csv

_TABLE_ROWS = 50


def chosen_kind(model: EvaluatedModel, kind: str | None, what: str) -> str:
    """Return the given kind of overlap, or else the config's last, which is the most specific (masks, not boxes).

    Args:
        model: evaluated.
        kind: the kind of overlap, or None.
        what: name of the report that needs it, for the error.

    Raises:
        ConfigError: the config's metric does not evaluate it, or the model is a classifier.
    """
    if model.metric.needs == ('label',):
        raise ConfigError(f'{model.label} is a classifier, which has no {what}')
    if kind is None:
        return model.metric.needs[-1]
    if kind not in model.metric.needs:
        raise ConfigError(
            f'{model.label} evaluates {", ".join(model.metric.needs)}, not {kind!r}; choose one of '
            'these, or change test_evaluator'
        )
    return kind


def write_confusion_matrix(
    model: EvaluatedModel,
    folder: str | Path,
    kind: str | None = None,
    score_thr: float = 0.25,
    iou_thr: float = 0.5,
    max_rows: int = 15,
) -> str:
    """Write ``confusion_matrix.png`` and ``.csv``; for detectors with background as a class of its own.

    Classes that are neither in the data nor predicted are left out.

    Args:
        model: evaluated.
        folder: where to write; it is made if need be.
        kind: the kind of overlap; the config's last if None.
        score_thr, iou_thr: as for ``confusion_matrix``.
        max_rows: of the table.

    Returns:
        A table of the most frequent confusions.
    """
    if model.metric.needs == ('label',):
        counts, names = np.zeros((len(model.classes),) * 2, np.int64), np.array(model.classes)
        np.add.at(
            counts,
            ([answer.gt_label for answer in model.results], [predicted_class(answer) for answer in model.results]),
            1,
        )
    else:
        counts = confusion_matrix(
            model.results,
            len(model.classes),
            chosen_kind(model, kind, 'boxes'),
            score_thr,
            iou_thr,
            model.metainfo.get('sigmas'),
        )
        names = np.array([*model.classes, BACKGROUND])
    kept = np.flatnonzero(counts.sum(0) + counts.sum(1))
    counts, names = counts[np.ix_(kept, kept)], names[kept]
    write_confusion(counts, names.tolist(), folder)
    wrong = counts * (1 - np.eye(len(counts), dtype=np.int64))
    rows = [
        [names[i], names[j], str(wrong[i, j]), f'{wrong[i, j] / counts[i].sum():.1%}']
        for i, j in zip(
            *np.unravel_index(np.argsort(-wrong, axis=None, kind='stable')[:max_rows], wrong.shape), strict=True
        )
        if wrong[i, j]
    ]
    return (
        text_table(['true', 'taken for', 'times', 'of the true'], rows, left=(0, 1)) if rows else 'nothing is confused'
    )


def write_run_pictures(model: EvaluatedModel, folder: str | Path) -> list[str]:
    """Write ``confusion_matrix.png``, ``.csv`` and, of a detector, ``pr_curve.png`` and ``f1_curve.png``.

    Returns:
        The names of the pictures; none where there is neither an object nor a prediction.
    """
    pictures = []
    is_classifier = model.metric.needs == ('label',)
    if is_classifier or any(len(sample.gt_instances) + len(sample.pred_instances) for sample in model.results):
        write_confusion_matrix(model, folder)
        pictures.append('confusion_matrix.png')
    if not is_classifier:
        kind = model.metric.needs[-1]
        matches = match(model.results, model.classes, kind, [0.5], model.metainfo.get('sigmas'), by_area=False)
        pictures += _draw_curves(class_curves(matches), model.classes, Path(folder), kind, 0.5, ('f1',))
    return pictures


def write_curves(model: EvaluatedModel, folder: str | Path, kind: str | None = None, iou_thr: float = 0.5) -> str:
    """Write ``pr_curve.png``, ``precision_curve.png``, ``recall_curve.png``, ``f1_curve.png`` and ``curves.csv``.

    Args:
        model: evaluated.
        folder: where to write; it is made if need be.
        kind: the kind of overlap; the config's last if None.
        iou_thr: least overlap of a match.

    Returns:
        A table with the best score threshold of every class.

    Raises:
        DataError: there is no object to find.
    """
    kind = chosen_kind(model, kind, 'precision at a recall')
    matches = match(model.results, model.classes, kind, [iou_thr], model.metainfo.get('sigmas'), by_area=False)
    curves = class_curves(matches)
    if not curves:
        raise DataError(f'{model.label}: the data hold no object, so that there is nothing to recall')
    folder = Path(folder)
    _draw_curves(curves, model.classes, folder, kind, iou_thr, ('precision', 'recall', 'f1'))
    _write_curves(curves, model.classes, folder / 'curves.csv')
    mean = mean_curves(curves)
    worst = sorted(curves, key=lambda one: one.average_precision)
    rows = []
    for one in (mean, *worst[:_TABLE_ROWS]):
        best = one.best
        rows.append(
            [
                'all' if one is mean else model.classes[one.label],
                str(one.objects),
                *(
                    f'{value:.3f}'
                    for value in (
                        one.average_precision,
                        one.f1[best],
                        SCORES[best],
                        one.precision[best],
                        one.recall[best],
                    )
                ),
            ]
        )
    return text_table(['class', 'objects', f'AP{iou_thr * 100:g}', 'best F1', 'at score', 'precision', 'recall'], rows)


def _draw_curves(
    curves: Sequence[ClassCurves],
    classes: Sequence[str],
    folder: Path,
    kind: str,
    iou_thr: float,
    against_score: Sequence[str],
) -> list[str]:
    """Draw the curves, and return the pictures' names; none where there are no curves."""
    if not curves:
        return []
    name, overlap = KIND_NAMES[kind], f'an overlap of {iou_thr:g}'
    save_figure(
        plot_precision_recall(curves, classes, f'{name} average precision at {overlap}'), folder / 'pr_curve.png'
    )
    for what in against_score:
        title = f'{name} {"F1" if what == "f1" else what} at {overlap}'
        save_figure(plot_against_score(curves, classes, what, title), folder / f'{what}_curve.png')
    return ['pr_curve.png', *(f'{what}_curve.png' for what in against_score)]


def _write_curves(curves: Sequence[ClassCurves], classes: Sequence[str], path: Path) -> None:
    """Write the values of the curves in long form; of those by score every tenth."""
    rows = []
    for one in curves:
        for name, x, y in (
            ('precision at recall', COCO_RECALLS, one.precision_at),
            ('precision at score', SCORES[::10], one.precision[::10]),
            ('recall at score', SCORES[::10], one.recall[::10]),
            ('F1 at score', SCORES[::10], one.f1[::10]),
        ):
            rows += [[classes[one.label], name, f'{a:.3f}', f'{b:.6f}'] for a, b in zip(x, y, strict=True)]
    write_csv(path, ['class', 'curve', 'x', 'y'], rows)


def write_errors(
    model: EvaluatedModel, folder: str | Path, kind: str | None = None, score_thr: float = 0.25, examples: int = 12
) -> str:
    """Write ``errors.png``, ``errors.json`` and, for each type of error, a sheet of the examples of the highest scores.

    Args:
        model: evaluated.
        folder: where to write; it is made if need be.
        kind: the kind of overlap; the config's last if None.
        score_thr: least score of a prediction that is counted and drawn; average precision is always that of all.
        examples: number of examples on a sheet.

    Returns:
        A table of the types.

    Raises:
        DataError: there is no object to find.
    """
    kind = chosen_kind(model, kind, 'kinds of errors')
    errors = classify_errors(model.results, model.classes, kind, model.metainfo.get('sigmas'))
    delta = delta_ap(errors, len(model.classes), score_thr)
    if delta.ap50 < 0:
        raise DataError(f'{model.label}: the data hold no object, so that no error can be told')
    folder = Path(folder)
    save_figure(plot_delta_ap(delta, score_thr), folder / 'errors.png')
    (folder / 'errors.json').write_text(
        json.dumps(
            {
                'kind': kind,
                'score_thr': score_thr,
                'AP50': delta.ap50,
                'gains': delta.gains,
                'numbers': delta.numbers,
                'false positives': delta.false_positives,
                'false negatives': delta.false_negatives,
            },
            indent=1,
        )
    )
    sure = errors.above(score_thr)
    for name in ERROR_TYPES:
        sheet = error_sheet(model, sure, name, examples, kind)
        if sheet is not None:
            write_picture(folder / f'errors_{name}.jpg', sheet)
    return _error_table(delta, score_thr)


def _error_table(delta: DeltaAP, score_thr: float) -> str:
    rows = [[name, f'{delta.gains[name]:.3f}', f'{delta.numbers[name]:,}', EXPLANATIONS[name]] for name in ERROR_TYPES]
    rows += [
        ['all false', f'{delta.false_positives:.3f}', '', 'if no prediction were false'],
        ['all missed', f'{delta.false_negatives:.3f}', '', 'if every object had been found'],
    ]
    table = text_table(['error', 'AP50 lost', f'at score {score_thr:g}', 'what it is'], rows, left=(0, 3))
    return f'AP50 is {delta.ap50:.3f}\n{table}'
