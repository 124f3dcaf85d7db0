"""Precision and recall, against each other and against the score threshold: numbers, charts and files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from detkit.analysis.charts import COLOURS, DARK, GREY, label_text, panel, save_figure
from detkit.analysis.errors.evaluated_model import EvaluatedModel
from detkit.analysis.errors.matching import KIND_NAMES, Matches, match
from detkit.evaluation.average_precision import COCO_RECALLS, IGNORED, TRUE, precision_at
from detkit.utils.errors import DataError
from detkit.utils.tables import text_table, write_csv

SCORES = np.linspace(0, 1, 1001)

_TABLE_ROWS = 50
# With more classes than there are colours, only the lowest curves have a colour and a name.
_LOWEST = 5


@dataclass(frozen=True)
class ClassCurves:
    """Curves of one class at one overlap.

    Attributes:
        label: label of the class.
        objects: how many there are, at least 1.
        precision_at: ``(101,)``, the best precision at each of ``COCO_RECALLS`` or a higher one.
        by_score: 'precision', 'recall' and 'f1', ``(1001,)`` each, of the predictions whose score is at least each of
            ``SCORES``. Without any prediction precision is 1.
    """

    label: int
    objects: int
    precision_at: np.ndarray
    by_score: dict[str, np.ndarray]

    @property
    def average_precision(self) -> float:
        """Mean of ``precision_at``."""
        return float(self.precision_at.mean())

    @property
    def best(self) -> int:
        """Index in ``SCORES`` of the highest F1; of the highest score among equals."""
        return len(SCORES) - 1 - int(self.by_score['f1'][::-1].argmax())


def class_curves(matches: Matches) -> list[ClassCurves]:
    """Compute the curves of every class that has objects, at the first of the overlaps of ``match``."""
    found = []
    for label, own in enumerate(matches.per_class):
        objects = int(own.objects[0].sum())
        if not objects:
            continue
        outcomes = own.found[0, 0]
        counted = outcomes != IGNORED
        true, scores = np.cumsum(outcomes[counted] == TRUE), own.scores[counted]
        # How many predictions reach each score; scores descend.
        number = np.searchsorted(-scores, -SCORES, side='right')
        right = np.append(0, true)[number]
        by_score = {
            'precision': np.where(number > 0, right / np.maximum(number, 1), 1.0),
            'recall': right / objects,
            'f1': 2 * right / (number + objects),
        }
        found.append(ClassCurves(label, objects, precision_at(outcomes, objects), by_score))
    return found


def mean_curves(curves: Sequence[ClassCurves]) -> ClassCurves:
    """Average the curves of all classes, as mean average precision does; ``label`` is -1.

    Raises:
        ValueError: there is no class.
    """
    if not curves:
        raise ValueError('there are no curves to take the mean of')
    by_score = {name: np.mean([one.by_score[name] for one in curves], 0) for name in curves[0].by_score}
    precision = np.mean([one.precision_at for one in curves], 0)
    return ClassCurves(-1, sum(one.objects for one in curves), precision, by_score)


def plot_precision_recall(curves: Sequence[ClassCurves], classes: Sequence[str], title: str = '') -> Figure:
    """Plot precision against recall of each class and of their mean."""
    return _plot(
        COCO_RECALLS,
        curves,
        lambda one: one.precision_at,
        lambda one: f'{_name(one, classes)} {one.average_precision:.3f}',
        ('recall', 'precision', title),
    )


def plot_against_score(curves: Sequence[ClassCurves], classes: Sequence[str], what: str, title: str = '') -> Figure:
    """Plot 'precision', 'recall' or 'f1' against the score threshold."""
    mean = mean_curves(curves)
    has_best = what == 'f1' and mean.by_score['f1'][mean.best] > 0
    if has_best:
        title += f': {mean.by_score["f1"][mean.best]:.3f} at a score of {SCORES[mean.best]:.3f}'
    axis_titles = 'score from which predictions count', what.capitalize() if what == 'f1' else what, title
    figure = _plot(SCORES, curves, lambda one: one.by_score[what], lambda one: _name(one, classes), axis_titles)
    if has_best:
        figure.axes[0].axvline(SCORES[mean.best], color=DARK, linewidth=1, linestyle=':')
    return figure


def _plot(
    x: np.ndarray,
    curves: Sequence[ClassCurves],
    values: Callable[[ClassCurves], np.ndarray],
    label: Callable[[ClassCurves], str],
    titles: tuple[str, str, str],
) -> Figure:
    """Plot a line for each class and their mean; ``titles`` are those of the x axis, the y axis and the chart."""
    figure, axes = panel(6.6, 4.4, tick_size=10, label_size=10)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel=titles[0], ylabel=titles[1])
    by_height = sorted(curves, key=lambda one: float(values(one).mean()))
    named = by_height[::-1] if len(curves) <= len(COLOURS) else by_height[:_LOWEST][::-1]
    others = by_height[len(named) :]
    for one in others:
        name = f'{len(others)} other classes' if one is others[0] else None
        axes.plot(x, values(one), linewidth=0.7, alpha=0.7, color=GREY, label=name)
    if len(curves) > 1:
        mean = mean_curves(curves)
        axes.plot(x, values(mean), linewidth=2.6, color=DARK, label=label(mean))
    for colour, one in zip(COLOURS, named, strict=False):
        axes.plot(x, values(one), linewidth=1.3, color=colour, label=label(one))
    axes.set_title(label_text(titles[2], 300), fontsize=11)
    axes.legend(fontsize=8, framealpha=0.7, loc='center left', bbox_to_anchor=(1, 0.5))
    return figure


def _name(one: ClassCurves, classes: Sequence[str]) -> str:
    return 'all classes' if one.label < 0 else label_text(classes[one.label])


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
    kind, folder = model.chosen_kind(kind, 'precision at a recall'), Path(folder)
    curves = write_curve_charts(model, folder, kind, iou_thr, ('precision', 'recall', 'f1'))
    if not curves:
        raise DataError(f'{model.label}: the data hold no object, so that there is nothing to recall')
    write_csv(folder / 'curves.csv', ['class', 'curve', 'x', 'y'], _csv_rows(curves, model.classes))
    rows = []
    for one in (mean_curves(curves), *sorted(curves, key=lambda one: one.average_precision)[:_TABLE_ROWS]):
        at_best = {name: values[one.best] for name, values in one.by_score.items()}
        numbers = [one.average_precision, at_best['f1'], SCORES[one.best], at_best['precision'], at_best['recall']]
        # Without a right prediction every threshold is as good, and precision may be that of none.
        found = [*map(float, numbers)] if at_best['f1'] else [*map(float, numbers[:2]), '', '', '']
        rows.append(['all' if one.label < 0 else model.classes[one.label], str(one.objects), *found])
    return text_table(['class', 'objects', f'AP{iou_thr * 100:g}', 'best F1', 'at score', 'precision', 'recall'], rows)


def write_curve_charts(
    model: EvaluatedModel, folder: Path, kind: str, iou_thr: float = 0.5, against_score: Sequence[str] = ('f1',)
) -> list[ClassCurves]:
    """Write ``pr_curve.png`` and a chart for each of the curves against the score.

    Returns:
        The curves; none, and no charts, where there are no objects.
    """
    sigmas, max_dets = model.metainfo.get('sigmas'), model.max_dets(kind)
    matches = match(model.results, model.classes, kind, [iou_thr], sigmas, by_area=False, max_dets=max_dets)
    curves = class_curves(matches)
    if curves:
        name, overlap = KIND_NAMES[kind], f'an overlap of {iou_thr:g}'
        chart = plot_precision_recall(curves, model.classes, f'{name} average precision at {overlap}')
        save_figure(chart, folder / 'pr_curve.png')
        for what in against_score:
            title = f'{name} {"F1" if what == "f1" else what} at {overlap}'
            save_figure(plot_against_score(curves, model.classes, what, title), folder / f'{what}_curve.png')
    return curves


def _csv_rows(curves: Sequence[ClassCurves], classes: Sequence[str]) -> list[list[str]]:
    """Return the values of the curves in long form; of those by score every tenth."""
    rows = []
    for one in curves:
        lines = [('precision at recall', COCO_RECALLS, one.precision_at)]
        for name, values in one.by_score.items():
            lines.append((f'{"F1" if name == "f1" else name} at score', SCORES[::10], values[::10]))
        for name, x, y in lines:
            rows += [[classes[one.label], name, f'{a:.3f}', f'{b:.6f}'] for a, b in zip(x, y, strict=True)]
    return rows
