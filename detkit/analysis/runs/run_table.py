"""A table of several runs: parameters, epochs, time, best and last metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from detkit.analysis.runs.run_logs import folders_of_runs, lower_is_better, read_results
from detkit.engine.checkpoint import meta_of_run
from detkit.engine.run_folder import RESULTS_FILE
from detkit.evaluation.gathered_metric import is_defined
from detkit.evaluation.headline import chart_title, fitness, headline_names, higher_is_better
from detkit.utils.errors import ConfigError, DataError, nearest
from detkit.utils.progress import duration_text
from detkit.utils.tables import text_table

_TRAIN, _METRICS = 'train/', 'metrics/'


@dataclass
class RunSummary:
    """The results of a run.

    Attributes:
        name: name of its folder.
        parameters: number of parameters of its model; None where no checkpoint says it.
        epochs: completed.
        seconds: duration of training and validation, those before a resume included.
        best_epoch: the last epoch of the greatest fitness, that of ``best.pth``; None if nothing was validated.
        metrics: name, as in ``results.csv`` but without 'metrics/' -> epoch -> value.
    """

    name: str
    parameters: int | None
    epochs: int
    seconds: float
    best_epoch: int | None
    metrics: dict[str, dict[int, float]]

    def best(self, metric: str) -> float | None:
        """Return a metric at the best epoch."""
        return self.metrics.get(metric, {}).get(self.best_epoch)

    def last(self, metric: str) -> float | None:
        """Return a metric at the last epoch that has it."""
        values = self.metrics.get(metric)
        return values[max(values)] if values else None


def find_runs(paths: Sequence[str | Path]) -> tuple[list[Path], list[Path]]:
    """Return the run folders among ``paths``, and those directly below the other folders, by name.

    Returns:
        The folders with results, and those of ``paths`` that have none, as of a run in its first epoch.

    Raises:
        DataError: there are no results in any of them.
    """
    found = [(path, folders_of_runs(path, [RESULTS_FILE])) for path in map(Path, paths)]
    folders = [folder for _, own in found for folder in own]
    empty = [path for path, own in found if not own]
    if not folders:
        raise DataError(
            f"'{empty[0]}' holds no {RESULTS_FILE}, nor does a folder in it; give folders of runs of which "
            'at least one epoch is complete.'
        )
    return folders, empty


def summarize_run(folder: str | Path) -> RunSummary:
    """Read a run's results, and what its checkpoints say of the model.

    Its config is not loaded, as that would run it: a folder of results may come from anybody.

    Raises:
        DataError: there are no results.
    """
    folder = Path(folder).resolve()
    columns = read_results(folder / RESULTS_FILE)
    if 'time' not in columns:
        raise DataError(f"'{folder / RESULTS_FILE}' has no epoch.")
    meta = meta_of_run(folder)
    metrics = {
        name.removeprefix(_METRICS): {int(epoch): float(value) for epoch, value in zip(*points, strict=True)}
        for name, points in columns.items()
        if name.startswith((_TRAIN, _METRICS))
    }
    epochs, times = columns['time']
    return RunSummary(
        name=folder.name,
        parameters=meta.get('parameters'),
        epochs=int(epochs[-1]),
        seconds=float(times[-1]),
        best_epoch=_best_epoch(metrics, meta.get('best_metric', 'fitness')),
        metrics=metrics,
    )


def _best_epoch(metrics: dict[str, dict[int, float]], key: str) -> int | None:
    """Return the epoch whose weights are ``best.pth``: as in the training loop, the last of the greatest fitness."""
    by_epoch: dict[int, dict[str, float]] = {}
    for name, values in metrics.items():
        for epoch, value in values.items():
            if not name.startswith(_TRAIN):
                by_epoch.setdefault(epoch, {})[name] = value
    scores = {epoch: fitness(by_epoch[epoch], key) for epoch in sorted(by_epoch)}
    scores = {epoch: value for epoch, value in scores.items() if value is not None}
    return max(scores, key=lambda epoch: (scores[epoch], epoch)) if scores else None


def run_table(runs: Sequence[RunSummary], metrics: Sequence[str] | None = None, markdown: bool = False) -> str:
    """Return a table with a row for each run: parameters, epochs, time, and metrics at the best and at the last epoch.

    ``gain`` is by how much the first metric is better than that of the first run, at the best epochs.

    Args:
        runs: at least one.
        metrics: names as in ``RunSummary.metrics``; default: mAP of each task, top-1 accuracy in training and in
            validation.
        markdown: write it for a Markdown file.

    Raises:
        ConfigError: no run has such a metric.
    """
    known = list(dict.fromkeys(name for run in runs for name in run.metrics))
    for name in metrics or ():
        if name not in known:
            raise ConfigError(f'no run has the metric {name!r}.{nearest(name, known)} There are: {", ".join(known)}')
    metrics = list(metrics or _headlines(known))
    columns = ['run', 'parameters', 'epochs', 'time', 'best epoch']
    columns += [text for name in metrics for text in (_title(name), 'last')]
    has_gain = len(runs) > 1 and bool(metrics)
    rows = []
    for run in runs:
        row = [
            run.name,
            '' if run.parameters is None else f'{run.parameters:,}',
            str(run.epochs),
            duration_text(run.seconds),
            str(run.best_epoch or ''),
        ]
        row += [_cell(value) for name in metrics for value in (run.best(name), run.last(name))]
        if has_gain:
            row.append(_gain(run, runs[0], metrics[0]))
        rows.append(row)
    return text_table(columns + ['gain'] * has_gain, rows, markdown=markdown)


def _headlines(names: Sequence[str]) -> list[str]:
    """Return the first headline metric of each chart, and after them those of training."""
    first: dict[tuple, str] = {}
    for name in filter(higher_is_better, headline_names(names)):
        first.setdefault((name.rpartition('/')[0], chart_title(name)), name)
    return sorted(first.values(), key=lambda name: name.startswith(_TRAIN))


def _title(name: str) -> str:
    """Format a name: ``train/top1`` -> 'train top1', ``coco/bbox_mAP`` -> 'bbox mAP'."""
    text = name.rpartition('/')[2].replace('_', ' ')
    return f'train {text}' if name.startswith(_TRAIN) else text


def _gain(run: RunSummary, first: RunSummary, metric: str) -> str:
    value, base = run.best(metric), first.best(metric)
    if run is first or value is None or base is None or not (is_defined(value) and is_defined(base)):
        return ''
    return f'{base - value if lower_is_better(metric) else value - base:+.3f}'


def _cell(value: float | None) -> str:
    return '' if value is None else f'{value:.3f}'
