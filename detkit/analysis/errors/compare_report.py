"""Reports of ``compare``: tables for the console and an HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from detkit.analysis.charts import COLOURS, label_text, panel, style
from detkit.analysis.errors.bootstrap import Interval
from detkit.analysis.errors.compare import MIN_IMAGES, ComparedMetric, Comparison, image_scores, verdict
from detkit.analysis.errors.matching import KIND_NAMES
from detkit.analysis.html_page import Cell, HtmlPage
from detkit.config.difference import config_differences, shown
from detkit.config.keys import TOP_LEVEL_KEYS
from detkit.config.origins import KeyPath
from detkit.datasets.transforms.loading import read_image
from detkit.utils.tables import text_table
from detkit.visualization.drawing import draw_data_sample
from detkit.visualization.sheets import fit

_SHOWN_SIDE = 480
_MARKERS = 'osD^'  # when colours begin anew


def metric_name(metric: ComparedMetric) -> str:
    """Return the name of a metric with its kind of overlap, such as 'box mAP'."""
    return f'{KIND_NAMES.get(metric.kind, "")} {metric.name}'.strip()


def console_tables(found: Comparison, latencies: Sequence[Interval] | None = None) -> str:
    """Return tables of every model's metrics with intervals, and of every pair's difference with a verdict."""
    columns, rows = _metric_rows(found, latencies)
    parts = [text_table(columns, rows)]
    if len(found.labels) > 1:
        parts.append(text_table(*_difference_rows(found), left=(0, 3)))
    return '\n'.join([*parts, _basis(found)])


def _metric_rows(found: Comparison, latencies: Sequence[Interval] | None) -> tuple[list[str], list[list]]:
    """Return titles of columns and a row for each model."""
    columns = ['model', *(metric_name(metric) for metric in found.overall), *(['ms/image'] if latencies else [])]
    rows = []
    for i, label in enumerate(found.labels):
        times = [_interval_cell(latencies[i], 1)] if latencies else []
        rows.append([label, *(_interval_cell(metric.values[i]) for metric in found.overall), *times])
    return columns, rows


def _difference_rows(found: Comparison) -> tuple[list[str], list[list]]:
    """Return titles of columns and a row for each metric and pair of models."""
    labels, rows = found.labels, []
    for metric in found.overall:
        for i, j in combinations(range(len(labels)), 2):
            cell = _difference_cell(metric, (i, j))
            rows.append([f'{labels[j]} - {labels[i]}', metric_name(metric), cell, verdict(metric, (i, j), labels)])
    return ['difference', 'metric', f'{found.confidence:.0%} interval', 'verdict'], rows


def _basis(found: Comparison) -> str:
    number = len(found.results[0])
    text = (
        f'{found.confidence:.0%} intervals by paired bootstrap: {number} images drawn anew {found.replicates} '
        'times. They say what other images might give, not what another training might.'
    )
    if number < MIN_IMAGES:
        text += (
            f' Intervals of so few images as {number} are too narrow to be trusted, so there is no verdict: '
            f'evaluate on {MIN_IMAGES} images at least.'
        )
    return text


def _with_interval(value: Interval, digits: int = 3) -> str:
    if np.isnan(value.value):
        return '-'
    if np.isnan(value.low):
        return f'{value.value:.{digits}f}'
    return f'{value.value:.{digits}f} ({value.low:.{digits}f} to {value.high:.{digits}f})'


def _interval_cell(value: Interval, digits: int = 3) -> Cell:
    return Cell(_with_interval(value, digits), value.value)


def _difference_cell(metric: ComparedMetric, pair: tuple[int, int]) -> Cell:
    """Return a cell with a difference and its interval, coloured if there is a verdict."""
    value = metric.differences[pair]
    if np.isnan(value.low):
        return Cell('-', None if np.isnan(value.value) else value.value)
    mark = '' if not value.excludes_zero or metric.images < MIN_IMAGES else 'good' if value.value > 0 else 'bad'
    return Cell(f'{value.value:+.3f} ({value.low:+.3f} to {value.high:+.3f})', value.value, mark)


def pareto_front(costs: Sequence[float], gains: Sequence[float]) -> list[int]:
    """Return the Pareto front by rising cost, as indices: no other is as cheap and better, or as good and cheaper."""
    front = [
        i
        for i, (cost, gain) in enumerate(zip(costs, gains, strict=True))
        if not any((c <= cost and g > gain) or (c < cost and g >= gain) for c, g in zip(costs, gains, strict=True))
    ]
    return sorted(front, key=lambda i: costs[i])


def write_report(
    found: Comparison,
    path: str | Path,
    latencies: Sequence[Interval] | None = None,
    score_thr: float = 0.25,
    max_images: int = 12,
) -> None:
    """Write the whole report as one HTML page.

    Args:
        found: the results of ``compare``.
        path: the page.
        latencies: milliseconds an image of each model, or None.
        score_thr: least score of the predictions that choose the pictures and are drawn.
        max_images: number of images to draw, those on which the models differ most.
    """
    labels = found.labels
    page = HtmlPage(
        'Comparison of ' + (_listed(labels) if len(labels) < 5 else f'{len(labels)} models'), _summary(found)
    )
    page.heading('Metrics')
    columns, rows = _metric_rows(found, latencies)
    page.table(
        [*columns, 'checkpoint'], [[*row, model.checkpoint] for row, model in zip(rows, found.models, strict=True)]
    )
    page.charts(
        (_interval_chart(metric, labels), f'{metric_name(metric)} with {found.confidence:.0%} intervals')
        for metric in found.overall
    )
    page.text(_basis(found), note=True)
    if len(labels) > 1:
        page.heading('Which is better?')
        page.text(
            'A difference counts as shown when its interval holds no zero. The intervals of two metrics may '
            'overlap all the same, as both models see the same images in every draw.'
        )
        page.table(*_difference_rows(found))
    if latencies:
        page.heading('Accuracy against time')
        page.chart(
            _pareto_chart(found, latencies),
            f'{metric_name(found.headline)} against milliseconds an image, with intervals. The line joins the '
            'models whose values no other beats in both.',
        )
    if found.per_area:
        page.heading('By size of the objects')
        _group_table(page, found, found.per_area, 'size')
    page.heading('By class')
    if len(labels) > 1:
        page.text(
            f'Coloured where the interval holds no zero, as about {1 - found.confidence:.0%} of them would '
            f'without any real difference. Differences on less than {MIN_IMAGES} images are never coloured: so few '
            'show nothing.',
            note=True,
        )
    _group_table(page, found, found.per_class, 'class')
    if len(labels) > 1:
        _images(page, found, score_thr, max_images)
        _configs(page, found)
    page.save(path)


def _listed(names: Sequence[str]) -> str:
    return ' and '.join(filter(None, (', '.join(names[:-1]), names[-1])))


def _summary(found: Comparison) -> str:
    labels, metric = found.labels, found.headline
    values = np.array([value.value for value in metric.values])
    best = int(np.where(np.isnan(values), -np.inf, values).argmax())
    text = (
        f'{metric_name(metric)} on {len(found.models[0].results)} images: {labels[best]} has the highest, '
        f'{_with_interval(metric.values[best])}.'
    )
    for other in range(len(labels)):
        if other != best:
            pair = (min(best, other), max(best, other))
            text += f' Against {labels[other]}: {verdict(metric, pair, labels)}.'
    return text


def _group_table(page: HtmlPage, found: Comparison, metrics: Sequence[ComparedMetric], what: str) -> None:
    """Add a table with a row for each class or size: every model's metric, and differences from the first model's."""
    labels = found.labels
    for kind in found.kinds:
        chosen = [metric for metric in metrics if metric.kind == kind]
        if not chosen:
            continue
        rows = []
        for metric in chosen:
            name = metric.group or {'s': 'small', 'm': 'medium', 'l': 'large'}[metric.name.rpartition('_')[2]]
            differences = [_difference_cell(metric, (0, j)) for j in range(1, len(labels))]
            counts = [metric.images] if kind == 'label' else [metric.images, metric.objects]
            rows.append([name, *counts, *(value.value for value in metric.values), *differences])
        counted = ['images'] if kind == 'label' else ['images', 'objects']
        columns = [what, *counted, *labels, *(f'{label} - {labels[0]}' for label in labels[1:])]
        page.table(columns, rows, caption=f'{KIND_NAMES.get(kind, "")} {chosen[0].name.partition("_")[0]}'.strip())


def _interval_chart(metric: ComparedMetric, labels: Sequence[str]) -> Figure:
    picture = Figure(figsize=(4, 0.8 + 0.36 * len(labels)), layout='tight')
    axes = picture.add_subplot()
    for i, value in enumerate(metric.values):
        colour = COLOURS[i % len(COLOURS)]
        axes.plot([value.low, value.high], [i, i], color=colour, linewidth=2.5, solid_capstyle='butt')
        axes.plot([value.value], [i], 'o', color=colour, markersize=6)
    axes.set_yticks(range(len(labels)), [label_text(label) for label in labels])
    axes.set_ylim(len(labels) - 0.5, -0.5)
    style(axes, tick_size=9, grid='x')
    return picture


def _pareto_chart(found: Comparison, latencies: Sequence[Interval]) -> Figure:
    metric = found.headline
    times, gains = [latency.value for latency in latencies], [value.value for value in metric.values]
    picture, axes = panel(4.6, 3.4 + 0.2 * np.ceil(len(times) / 2), tick_size=9, label_size=10)
    front = pareto_front(times, gains)
    axes.plot([times[i] for i in front], [gains[i] for i in front], color='#9aa5b1', linewidth=1.5, zorder=0)
    for i, (label, time, value) in enumerate(zip(found.labels, latencies, metric.values, strict=True)):
        axes.errorbar(
            [time.value],
            [value.value],
            [[value.value - value.low], [value.high - value.value]],
            [[time.value - time.low], [time.high - time.value]],
            fmt=_MARKERS[i // len(COLOURS) % 4],
            color=COLOURS[i % len(COLOURS)],
            capsize=3,
            label=label_text(label),
        )
    axes.margins(x=0.1)
    axes.set_xlabel('ms/image')
    axes.set_ylabel(metric_name(metric))
    picture.legend(loc='outside lower center', ncols=2, fontsize=9, frameon=False)
    return picture


def _images(page: HtmlPage, found: Comparison, score_thr: float, max_images: int) -> None:
    kind, first = found.kinds[-1], found.models[0]
    scores = image_scores(found, score_thr)  # (V, I)
    spread = scores.max(0) - scores.min(0)
    chosen = [i for i in np.argsort(-spread, kind='stable')[:max_images] if spread[i] > 0]
    page.heading('Images on which they differ most')
    if not chosen:
        page.text(f'None: at a score of {score_thr:g} all are equally right on every image.' if max_images else 'None.')
        return
    what = 'right or wrong' if kind == 'label' else f'F1 of the {KIND_NAMES[kind]} predictions at an overlap of 0.5'
    page.text(f'By {what}; predictions below a score of {score_thr:g} are left out.')
    for i in chosen:
        truth = found.results[0][i]
        img = read_image(truth.img_path)
        page.heading(Path(truth.img_path).name, 3)
        pictures = [(draw_data_sample(img, truth, 'gt', first.classes, keypoint_info=first.metainfo), 'ground truth')]
        for label, results, own in zip(found.labels, found.results, scores[:, i], strict=True):
            judged = ('right' if own else 'wrong') if kind == 'label' else f'F1 {own:.2f}'
            picture = draw_data_sample(img, results[i], 'pred', first.classes, score_thr, keypoint_info=first.metainfo)
            pictures.append((picture, f'{label}: {judged}'))
        page.pictures((fit(picture, _SHOWN_SIDE, enlarge=True), caption) for picture, caption in pictures)


def _configs(page: HtmlPage, found: Comparison) -> None:
    first = found.models[0]
    page.heading('How the configs differ')
    for other in found.models[1:]:
        page.heading(f'{first.label} and {other.label}', 3)
        rows = [
            [difference.key, Cell.wrapped(shown(difference.first)), Cell.wrapped(shown(difference.second))]
            for difference in config_differences(first.config, other.config)
            if _matters(difference.path or difference.other_path)
        ]
        if rows:
            page.table(['key', first.label, other.label], rows)
        else:
            page.text('Not at all.')


def _matters(path: KeyPath) -> bool:
    """Return whether a differing key is neither the folder of a run nor a variable, which recurs where it is used."""
    return path[0] not in ('work_dir', 'log_to') and (path[0] in TOP_LEVEL_KEYS or len(path) == 1)
