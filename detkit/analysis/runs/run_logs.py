"""Metrics of training runs over time, read from the files in the runs' folders."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from detkit.engine.run_folder import RESULTS_FILE, SCALARS_FILE
from detkit.evaluation.headline import chart_title, higher_is_better
from detkit.utils.errors import ConfigError, DataError, nearest, shorten
from detkit.utils.json_files import parse_json
from detkit.utils.tables import read_table, text_table, write_csv
from detkit.utils.text_files import read_text

S, T = TypeVar('S'), TypeVar('T')
Curves = dict[str, tuple[np.ndarray, np.ndarray]]

AXES = {'epoch': 'epoch', 'iter': 'iteration', 'time': 'minutes of training'}
_METRICS = 'metrics/'
FEW_POINTS = 25


@dataclass(frozen=True)
class RunLog:
    """The metrics of one run.

    Attributes:
        label: its name.
        path: the file that they were read from.
        curves: name (of metrics without 'metrics/') -> x and y.
    """

    label: str
    path: Path
    curves: Curves


def read_results(path: str | Path, axes: Sequence[str] = ('epoch', 'step', 'iter')) -> Curves:
    """Read the columns of ``results.csv`` or, from a file of another suffix, of JSON lines such as ``scalars.json``.

    Args:
        path: the file.
        axes: columns, of which the first that a row has is x.

    Returns:
        Name of the column -> x and y of the rows that have it. Later rows for the same x replace earlier ones, as
        after a resumed run. The part of a name before the last '/' is its group ('train/box').

    Raises:
        DataError: there is no such file, or it is no such table.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"'{path}' does not exist; give the results.csv or scalars.json of a run's folder.")
    rows = read_table(path)[1] if path.suffix == '.csv' else _json_lines(path)
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


def _json_lines(path: Path) -> list[dict[str, Any]]:
    rows = []
    lines = read_text(path, 'log').split('\n')
    for number, line in enumerate(lines, 1):
        if line.strip() and (number < len(lines) or line.endswith('}')):  # else the line is just being written
            row = parse_json(line, f"line {number} of '{path}'")
            if not isinstance(row, dict):
                raise DataError(f"line {number} of '{path}' is no JSON object, which each line of {SCALARS_FILE} is")
            rows.append(row)
    return rows


def _number(value: object) -> float | None:
    """Return a finite number, or None for anything else, such as a blank cell."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (OverflowError, TypeError, ValueError):  # the first: a whole number of hundreds of digits
        return None
    return number if math.isfinite(number) else None


def read_run(path: str | Path, axis: str = 'epoch', label: str | None = None) -> RunLog:
    """Read the metrics of a run from its folder or from one of its two files.

    Args:
        path: a folder, of which ``results.csv`` is read, or ``scalars.json`` for 'iter' or where the former is missing;
            or a file.
        axis: the x axis, see ``AXES``.
        label: the folder's name when left out.

    Raises:
        DataError: there is no such file, or nothing in it.
    """
    path = Path(path)
    file = path
    if path.is_dir():
        names = (RESULTS_FILE, SCALARS_FILE) if axis != 'iter' else (SCALARS_FILE,)
        file = next((path / name for name in names if (path / name).is_file()), path / names[0])
    if not file.is_file():
        raise DataError(f"'{file}' does not exist; give folders of runs, or their {RESULTS_FILE} or {SCALARS_FILE}")
    found = read_results(file, (axis,))
    scale = 1 / 60 if axis == 'time' else 1
    curves = {name.removeprefix(_METRICS): (x * scale, y) for name, (x, y) in found.items() if name not in AXES}
    if not curves:
        raise DataError(
            f"'{file}' has no metric by {AXES[axis]}"
            + (f'; {SCALARS_FILE} has' if axis == 'iter' and file.suffix == '.csv' else '')
        )
    return RunLog(label or file.parent.resolve().name, file, curves)


def read_usable(read: Callable[[S], T], sources: Iterable[S]) -> tuple[list[T], list[str]]:
    """Return what ``read`` finds in the runs that it can use, and a sentence on each of the others.

    Raises:
        DataError: it can use none.
    """
    found, failed = [], []
    for source in sources:
        try:
            found.append(read(source))
        except DataError as error:
            failed.append(str(error))
    if failed and not found:
        raise DataError(failed[0])
    return found, failed


def find_logs(paths: Sequence[str | Path], labels: Sequence[str] | None = None) -> list[tuple[Path, str]]:
    """Return the runs among ``paths`` with a name for each.

    Args:
        paths: folders of runs, folders that hold such, or files of runs.
        labels: one for each; by default the folders' names, with as many of their parents' as make them unique.

    Raises:
        ConfigError: another number of labels than of runs.
        DataError: a path holds no run.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        runs = folders_of_runs(path, (RESULTS_FILE, SCALARS_FILE)) if path.is_dir() else [path]
        if not runs:
            raise DataError(f"'{path}' holds no {RESULTS_FILE} and no {SCALARS_FILE}, nor does a folder in it")
        found += runs
    if labels:
        if len(labels) != len(found):
            raise ConfigError(
                f'{len(labels)} labels ({", ".join(labels)}) for {len(found)} runs ({", ".join(map(str, found))})'
            )
        return list(zip(found, labels, strict=True))
    folders = [(path if path.is_dir() else path.parent).resolve() for path in found]
    depth = 1
    while len({folder.parts[-depth:] for folder in folders}) < len(set(folders)):
        depth += 1
    return [(path, '/'.join(folder.parts[-depth:])) for path, folder in zip(found, folders, strict=True)]


def folders_of_runs(path: Path, names: Sequence[str]) -> list[Path]:
    """Return a folder if it holds one of the files, or else the folders in it that do, by name."""
    if any((path / name).is_file() for name in names):
        return [path]
    return sorted({file.parent for name in names for file in path.glob(f'*/{name}')})


def choose_names(runs: Sequence[RunLog], patterns: Sequence[str] | None = None) -> list[str]:
    """Return the names of the curves to show, in the runs' order.

    Args:
        runs: the runs, any of which may have them.
        patterns: names, * and ? allowed; None for losses, average precisions, accuracies and the first group's
            learning rate.

    Raises:
        ConfigError: a pattern fits no name.
    """
    names = list(dict.fromkeys(name for run in runs for name in run.curves))
    if patterns is None:
        rate = next((name for name in names if name.startswith('lr/')), None)  # the others follow the same schedule
        return [name for name in names if _is_usual(name) or name == rate] or names
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in names):
            raise ConfigError(f'no run has {pattern!r}; there are {shorten(names, 30)}.{nearest(pattern, names)}')
    return [name for name in names if any(fnmatch(name, pattern) for pattern in patterns)]


def _is_usual(name: str) -> bool:
    return name.startswith(('train/', 'val/')) or chart_title(name) is not None


def smooth(name: str, y: np.ndarray, weight: float) -> np.ndarray:
    """Return the exponential moving average of a curve, with the bias of its start corrected.

    It is the running mean of Adam (Kingma and Ba, 2015, algorithm 1). Learning rates, which have no noise, and metrics
    of less than 25 points, such as those of a few validations, are returned unchanged: the average would only lag.
    """
    if name.startswith('lr') or len(y) < FEW_POINTS or not weight:
        return y
    smoothed, mean = np.empty(len(y)), 0.0
    for i, value in enumerate(y.tolist()):
        mean = weight * mean + (1 - weight) * value
        smoothed[i] = mean / (1 - weight ** (i + 1))
    return smoothed


def is_metric(name: str) -> bool:
    """Return whether a curve is measured on validation data, so that its best value is meaningful."""
    return '/' in name and not name.startswith(('train/', 'lr/'))


def best_index(name: str, y: np.ndarray) -> int:
    """Return the index of the best value, the least of losses and the greatest of other metrics; the last of equals.

    So does the training loop choose the epoch of ``best.pth``.
    """
    backwards = y[::-1]
    return len(y) - 1 - int(backwards.argmin() if lower_is_better(name) else backwards.argmax())


def lower_is_better(name: str) -> bool:
    """Return whether a curve is of a loss, or of a metric whose least value is the best one."""
    # Training logs metrics besides losses, such as a classifier's accuracy, and a config may call its metric 'val'.
    return not higher_is_better(name) or (name.startswith(('train/', 'val/')) and chart_title(name) is None)


def logs_table(runs: Sequence[RunLog], names: Sequence[str], axis: str = 'epoch') -> str:
    """Return a table of the best and the last value of each metric and run."""
    rows = []
    for name in names:
        for run in runs:
            if name not in run.curves or not (is_metric(name) or name.startswith('train/')):
                continue
            x, y = run.curves[name]
            best = best_index(name, y)
            rows.append([name, run.label, f'{y[best]:.4g}', f'{x[best]:.4g}', f'{y[-1]:.4g}', f'{x[-1]:.4g}'])
    at = {'epoch': 'epoch', 'iter': 'iteration', 'time': 'minute'}[axis]
    return text_table(['metric', 'run', 'best', f'at {at}', 'last', f'at {at}'], rows, left=(0, 1))


def write_logs(
    runs: Sequence[RunLog], names: Sequence[str], path: str | Path, weight: float = 0.0, axis: str = 'epoch'
) -> None:
    """Write a CSV file with the columns run, metric, x, value and smoothed value."""
    rows = []
    for run in runs:
        for name in names:
            if name in run.curves:
                x, y = run.curves[name]
                rows += [
                    [run.label, name, f'{at:.6g}', f'{value:.6g}', f'{smoothed:.6g}']
                    for at, value, smoothed in zip(x, y, smooth(name, y, weight), strict=True)
                ]
    write_csv(path, ['run', 'metric', AXES[axis], 'value', 'smoothed'], rows)
