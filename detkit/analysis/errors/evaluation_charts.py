"""Charts of an evaluation: precision and recall, score thresholds, types of errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from detkit.analysis.charts import COLOURS
from detkit.analysis.errors.curves import SCORES, ClassCurves, mean_curves
from detkit.analysis.errors.error_types import ERROR_TYPES, EXPLANATIONS, DeltaAP
from detkit.evaluation.average_precision import COCO_RECALLS

# Of more classes only the lowest curves have a colour and a name.
_NAMED = len(COLOURS)
_LOWEST = 5
_GREY = '#b9c1ca'


def plot_precision_recall(curves: Sequence[ClassCurves], classes: Sequence[str], title: str = '') -> Figure:
    """Plot precision against recall of each class and of their mean."""
    figure, axes = _panel('recall', 'precision')
    _class_lines(
        axes, COCO_RECALLS, curves, 'precision_at', lambda one: f'{_name(one, classes)} {one.average_precision:.3f}'
    )
    axes.set_title(title, fontsize=11)
    _legend(axes)
    return figure


def plot_against_score(curves: Sequence[ClassCurves], classes: Sequence[str], what: str, title: str = '') -> Figure:
    """Plot 'precision', 'recall' or 'f1' against the score threshold."""
    figure, axes = _panel('score from which predictions count', what.capitalize() if what == 'f1' else what)
    _class_lines(axes, SCORES, curves, what, lambda one: _name(one, classes))
    if what == 'f1':
        mean = mean_curves(list(curves))
        axes.axvline(SCORES[mean.best], color='#1c2430', linewidth=1, linestyle=':')
        title += f': {mean.f1[mean.best]:.3f} at a score of {SCORES[mean.best]:.3f}'
    axes.set_title(title, fontsize=11)
    _legend(axes)
    return figure


def plot_delta_ap(delta: DeltaAP, score_thr: float = 0.0) -> Figure:
    """Plot the average precision lost to each type of error, with their numbers from a score on."""
    figure = Figure(figsize=(7, 3.3), dpi=110, layout='constrained')
    axes = figure.add_subplot()
    gains = [delta.gains[name] for name in ERROR_TYPES]
    axes.barh(
        range(len(ERROR_TYPES)), gains, color=[COLOURS[i % len(COLOURS)] for i in range(len(ERROR_TYPES))], height=0.65
    )
    axes.set_yticks(range(len(ERROR_TYPES)), [f'{name}\n{EXPLANATIONS[name]}' for name in ERROR_TYPES], fontsize=8)
    axes.invert_yaxis()
    for place, (name, gain) in enumerate(zip(ERROR_TYPES, gains, strict=True)):
        axes.text(gain, place, f'  {gain:.3f}  ({delta.numbers[name]:,})', va='center', fontsize=9)
    axes.set_xlim(0, max(0.02, max(gains)) * 1.35)
    axes.set_xlabel(f'AP50 lost (number of errors from a score of {score_thr:g} on)')
    axes.set_title(f'AP50 is {delta.ap50:.3f}', fontsize=11)
    axes.spines[['top', 'right']].set_visible(False)
    return figure


def _panel(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.6, 4.4), dpi=110, layout='constrained')
    axes = figure.add_subplot()
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    axes.spines[['top', 'right']].set_visible(False)
    return figure, axes


def _class_lines(
    axes: Axes, x: np.ndarray, curves: Sequence[ClassCurves], what: str, label: Callable[[ClassCurves], str]
) -> None:
    """Plot a line for each class and their mean."""
    by_height = sorted(curves, key=lambda one: float(getattr(one, what).mean()))
    named = by_height[::-1] if len(curves) <= _NAMED else by_height[:_LOWEST][::-1]
    others = by_height[len(named) :]
    for one in others:
        axes.plot(
            x,
            getattr(one, what),
            linewidth=0.7,
            alpha=0.7,
            color=_GREY,
            label=f'{len(others)} other classes' if one is others[0] else None,
        )
    if len(curves) > 1:
        mean = mean_curves(list(curves))
        axes.plot(x, getattr(mean, what), linewidth=2.6, color='#1c2430', label=label(mean))
    for colour, one in zip(COLOURS, named, strict=False):
        axes.plot(x, getattr(one, what), linewidth=1.3, color=colour, label=label(one))


def _legend(axes: Axes) -> None:
    axes.legend(fontsize=8, framealpha=0.7, loc='center left', bbox_to_anchor=(1, 0.5))


def _name(one: ClassCurves, classes: Sequence[str]) -> str:
    return 'all classes' if one.label < 0 else classes[one.label]
