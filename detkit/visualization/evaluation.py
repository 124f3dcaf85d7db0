"""Pictures of what ``detkit.analysis`` finds: precision and recall, scores, kinds of errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from detkit.analysis.curves import RECALLS, SCORES, ClassCurves, mean_curves
from detkit.analysis.error_types import EXPLANATIONS, KINDS, Costs
from detkit.visualization.curves import COLOURS

# More classes than that are drawn thin and grey below their mean.
_NAMED = 8
_GREY = '#b9c1ca'


def plot_precision_recall(curves: Sequence[ClassCurves], classes: Sequence[str], iou_thr: float = .5) -> Figure:
    """Precision against recall of each class and of their mean."""
    figure, axes = _panel('recall', 'precision')
    _class_lines(axes, RECALLS, curves, 'precision_at',
                 lambda one: f'{_name(one, classes)} {one.average_precision:.3f}')
    axes.set_title(f'average precision at an overlap of {iou_thr:g}', fontsize=11)
    _legend(axes)
    return figure


def plot_against_score(curves: Sequence[ClassCurves], classes: Sequence[str], what: str) -> Figure:
    """'precision', 'recall' or 'f1' against the score from which predictions count."""
    figure, axes = _panel('score', what.capitalize() if what == 'f1' else what)
    _class_lines(axes, SCORES, curves, what, lambda one: _name(one, classes))
    if what == 'f1':
        mean = mean_curves(list(curves))
        axes.axvline(SCORES[mean.best], color='#1c2430', linewidth=1, linestyle=':')
        axes.set_title(f'F1 {mean.f1[mean.best]:.3f} at a score of {SCORES[mean.best]:.3f}', fontsize=11)
    _legend(axes)
    return figure


def plot_error_costs(spent: Costs) -> Figure:
    """How much average precision each kind of error takes."""
    figure = Figure(figsize=(7, 3.3), dpi=110, layout='constrained')
    axes = figure.add_subplot()
    gains = [spent.gains[name] for name in KINDS]
    axes.barh(range(len(KINDS)), gains, color=[COLOURS[i % len(COLOURS)] for i in range(len(KINDS))], height=.65)
    axes.set_yticks(range(len(KINDS)), [f'{name}\n{EXPLANATIONS[name]}' for name in KINDS], fontsize=8)
    axes.invert_yaxis()
    for place, (name, gain) in enumerate(zip(KINDS, gains, strict=True)):
        axes.text(gain, place, f'  {gain:.3f}  ({spent.numbers[name]:,})', va='center', fontsize=9)
    axes.set_xlim(0, max(.02, max(gains)) * 1.35)
    axes.set_xlabel('AP50 that would be gained (number of errors)')
    axes.set_title(f'AP50 is {spent.precision:.3f}', fontsize=11)
    axes.spines[['top', 'right']].set_visible(False)
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Writes a PNG, SVG or PDF, by the suffix; the folder is made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches='tight')


def _panel(x: str, y: str) -> tuple[Figure, object]:
    figure = Figure(figsize=(6.6, 4.4), dpi=110, layout='constrained')
    axes = figure.add_subplot()
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=.3)
    axes.spines[['top', 'right']].set_visible(False)
    return figure, axes


def _class_lines(axes: object, x: np.ndarray, curves: Sequence[ClassCurves], what: str, label) -> None:
    few = len(curves) <= _NAMED
    for place, one in enumerate(curves):
        axes.plot(x, getattr(one, what), linewidth=1.3 if few else .7, alpha=1 if few else .6,
                  color=COLOURS[place % len(COLOURS)] if few else _GREY, label=label(one) if few else None)
    if len(curves) > 1:
        mean = mean_curves(list(curves))
        axes.plot(x, getattr(mean, what), linewidth=2.6, color='#1c2430', label=label(mean))


def _legend(axes: object) -> None:
    axes.legend(fontsize=8, framealpha=.7, loc='center left', bbox_to_anchor=(1, .5))


def _name(one: ClassCurves, classes: Sequence[str]) -> str:
    return 'all classes' if one.label < 0 else classes[one.label]
