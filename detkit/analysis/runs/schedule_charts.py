"""Charts of schedules: learning rate, momentum and accumulation over a run, and enlarged over its beginning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from detkit.analysis.charts import COLOURS, label_text, style
from detkit.analysis.runs.schedule_plan import SchedulePlan, detail_end

_STYLES = ('-', '--', (0, (1, 1)), '-.')
_PALE = '#55606e'


def plot_schedules(plans: Sequence[SchedulePlan], log_scale: bool = False) -> Figure:
    """Plot a row each for the rate, the momentum (if it changes) and the accumulation (if batches are summed).

    Args:
        plans: the plans, each with a colour; if there is one, each of its groups has a colour.
        log_scale: whether the learning rate has a logarithmic scale.
    """
    rows = [('learning rate', 'lr')]
    if any(np.ptp(group.momentum) > 0 for plan in plans for group in plan.groups):
        rows.append(('momentum (Adam: beta 1)', 'momentum'))
    if any((plan.accumulate > 1).any() for plan in plans):
        rows.append(('batches a step', 'accumulate'))
    end = max(detail_end(plan) for plan in plans)
    columns = 2 if end else 1
    figure = Figure(figsize=(6.2 * columns, 1.0 + 2.5 * len(rows)), dpi=110, layout='constrained')
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for (title, name), panels in zip(rows, grid, strict=True):
        for axes, detail in zip(panels, (False, True), strict=False):
            for number, plan in enumerate(plans):
                _draw(axes, plan, name, number if len(plans) > 1 else None, end if detail else None)
            shown = f'{title} at the beginning' if detail else title
            _finish(axes, shown, 'iteration' if detail else 'epoch', log_scale and name == 'lr')
            if name == 'lr' and end and not detail and not log_scale:
                # The beginning, which has a panel of its own, must not press the rest flat.
                settled = [group.lr[plan.iterations >= plan.warmup].max() for plan in plans for group in plan.groups]
                axes.set_ylim(top=1.1 * max(settled))
    marks = _mark(grid, plans, end)
    handles, labels = grid[0][0].get_legend_handles_labels()
    if marks:
        handles.append(Line2D([], [], color=_PALE, linewidth=1, linestyle=':'))
        labels.append(', '.join(marks))
    if len(handles) > 1:
        figure.legend(
            handles, labels, loc='outside lower center', ncols=min(len(handles), 3 * columns), fontsize=9, frameon=False
        )
    return figure


def _draw(axes: Axes, plan: SchedulePlan, name: str, number: int | None, end: int | None) -> None:
    shown = slice(None) if end is None else plan.iterations <= end
    x = (plan.epochs if end is None else plan.iterations)[shown]
    if name == 'accumulate':
        axes.step(x, plan.accumulate[shown], where='post', color=COLOURS[(number or 0) % len(COLOURS)], linewidth=1.6)
        return
    for index, (names, values) in enumerate(_curves(plan, name)):
        colour = index if number is None else number
        label = names if number is None else f'{plan.label}: {names}'
        style_of_line = dict(color=COLOURS[colour % len(COLOURS)], linestyle=_STYLES[index % len(_STYLES)])
        axes.plot(x, values[shown], linewidth=1.6, label=label_text(label, 300), **style_of_line)


def _curves(plan: SchedulePlan, name: str) -> list[tuple[str, np.ndarray]]:
    """Return a curve for each set of groups with equal values, labelled with all their names."""
    curves: dict[bytes, tuple[list[str], np.ndarray]] = {}
    for group in plan.groups:
        # By both, so that a curve has the same colour in each panel.
        key = group.lr.tobytes() + group.momentum.tobytes()
        curves.setdefault(key, ([], group.lr if name == 'lr' else group.momentum))[0].append(group.name)
    return [(', '.join(names), values) for names, values in curves.values()]


def _finish(axes: Axes, title: str, x: str, log_scale: bool) -> None:
    axes.set_title(title, fontsize=11)
    axes.set_xlabel(x)
    style(axes)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if log_scale:
        axes.set_yscale('log')
    elif title.startswith('learning rate'):
        axes.set_ylim(bottom=0)
        axes.ticklabel_format(axis='y', style='sci', scilimits=(-2, 2))
    elif title.startswith('batches'):
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))


def _mark(grid: np.ndarray, plans: Sequence[SchedulePlan], end: int) -> list[str]:
    """Draw dotted lines where warm-ups end and mosaic stops, and return which of them there are."""
    warmups = {plan.warmup for plan in plans if end} - {0}
    closings = {plan.close_epoch - 1 for plan in plans if plan.close_epoch is not None}
    for axes in grid[:, 0]:
        for epoch in closings:
            axes.axvline(epoch, color=_PALE, linewidth=1, linestyle=':')
    for axes in grid[:, -1] if warmups else ():
        for warmup in warmups:
            axes.axvline(warmup, color=_PALE, linewidth=1, linestyle=':')
    return ['end of warm-up'] * bool(warmups) + ['mosaic off'] * bool(closings)
