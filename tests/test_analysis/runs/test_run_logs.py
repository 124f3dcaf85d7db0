"""Curves of several runs."""

import csv
import json

import numpy as np
import pytest

from detkit.analysis.runs.run_charts import plot_runs
from detkit.analysis.runs.run_logs import (
    best_index,
    choose_names,
    find_logs,
    is_metric,
    logs_table,
    read_run,
    smooth,
    write_logs,
)
from detkit.utils.errors import ConfigError, DataError


def write_run(folder, epochs, offset=0.0):
    folder.mkdir(parents=True)
    lines = [
        'epoch,time,train/box,lr/weight,lr/norm,metrics/coco/bbox_mAP,metrics/coco/bbox_mAP_s,metrics/coco/bbox_AR1'
    ]
    lines += [f'{e},{60 * e},{3 / e + offset},.01,.02,{0.1 * e if e % 2 else ""},.05,.3' for e in range(1, epochs + 1)]
    (folder / 'results.csv').write_text('\n'.join(lines) + '\n')
    rows = [{'epoch': 1 + i // 10, 'iter': i, 'time': 6.0 * i, 'train/box': 9.0 - i, 'grad_norm': 1.0} for i in (5, 10)]
    (folder / 'scalars.json').write_text(''.join(json.dumps(row) + '\n' for row in rows))
    return folder


@pytest.fixture
def runs(tmp_path):
    return [write_run(tmp_path / 'a' / 'run', 4), write_run(tmp_path / 'b' / 'run', 30, 1.0)]


def test_reading(runs):
    run = read_run(runs[0])
    assert run.label == 'run' and 'epoch' not in run.curves and 'time' not in run.curves
    x, y = run.curves['coco/bbox_mAP']
    np.testing.assert_allclose((x, y), ([1, 3], [0.1, 0.3]))
    np.testing.assert_allclose(read_run(runs[0], 'time').curves['coco/bbox_mAP'], ([1, 3], [0.1, 0.3]))  # minutes
    by_iter = read_run(runs[0], 'iter')
    assert by_iter.path.name == 'scalars.json'
    np.testing.assert_array_equal(by_iter.curves['train/box'], ([5, 10], [4, -1]))
    (runs[0] / 'results.csv').unlink()
    np.testing.assert_array_equal(read_run(runs[0]).curves['train/box'], ([1, 2], [4, -1]))


def test_finding(runs, tmp_path):
    assert find_logs(runs) == [(runs[0], 'a/run'), (runs[1], 'b/run')]
    assert find_logs([tmp_path / 'a']) == [(runs[0], 'run')]
    assert find_logs([runs[0] / 'scalars.json'], ['mine']) == [(runs[0] / 'scalars.json', 'mine')]
    with pytest.raises(ConfigError, match='1 labels'):
        find_logs(runs, ['mine'])
    with pytest.raises(DataError, match='holds no results.csv'):
        find_logs([tmp_path])
    with pytest.raises(DataError, match='does not exist'):
        read_run(tmp_path / 'nothing')
    with pytest.raises(DataError, match='no metric by iteration'):
        read_run(runs[0] / 'results.csv', 'iter')


def test_choosing(runs):
    logs = [read_run(run) for run in runs]
    assert choose_names(logs) == ['train/box', 'lr/weight', 'coco/bbox_mAP']
    assert choose_names(logs, ['*mAP*', 'lr/norm']) == ['lr/norm', 'coco/bbox_mAP', 'coco/bbox_mAP_s']
    with pytest.raises(ConfigError, match="no run has 'train/bx'.*Did you mean 'train/box'"):
        choose_names(logs, ['train/bx'])


def test_smoothing():
    y = np.full(30, 3.0)
    np.testing.assert_allclose(smooth('train/box', y, 0.9), y)  # not drawn to 0 at the start
    y = np.random.default_rng(0).normal(size=3000)
    assert smooth('train/box', y, 0.9)[100:].std() == pytest.approx(np.sqrt(0.1 / 1.9), rel=0.1)  # of AR(1) noise
    np.testing.assert_allclose(smooth('train/box', np.arange(30.0), 0.5)[:2], [0, 1 / 1.5])
    for name, few in (('lr/weight', y), ('train/box', y[:20])):
        assert smooth(name, few, 0.9) is few
    assert smooth('train/box', y, 0) is y


def test_which_value_is_best(runs):
    y = np.array([0.2, 0.1, 0.4, 0.4])
    assert best_index('coco/bbox_mAP', y) == 3 and best_index('train/box', y) == 1
    assert best_index('accuracy/cross_entropy', y) == 1
    assert best_index('train/top1', y) == 3 and best_index('val/bbox_mAP', y) == 3 and best_index('val/box', y) == 1
    assert is_metric('coco/bbox_mAP') and not is_metric('grad_norm') and not is_metric('train/box')


def test_picture_table_and_file(runs, tmp_path):
    logs = [read_run(path, label=label) for path, label in find_logs(runs)]
    names = choose_names(logs)
    table = logs_table(logs, names)
    (row,) = (line for line in table.splitlines() if 'bbox_mAP' in line and 'b/run' in line)
    assert row.split('|')[3:7] == ['  2.9 ', '       29 ', '  2.9 ', '       29 '] and 'lr/weight' not in table
    metric = plot_runs(logs, names, 0.5)
    assert [axes.get_title() for axes in metric.axes] == names
    # Of the loss the long run is smoothed, above its pale values; the metrics have a star each.
    assert [len(axes.lines) for axes in metric.axes] == [3, 2, 4]
    write_logs(logs, names, tmp_path / 'out' / 'logs.csv', 0.5)
    rows = list(csv.DictReader((tmp_path / 'out' / 'logs.csv').open()))
    assert len(rows) == 34 * 2 + 2 + 15
    assert rows[0] == {'run': 'a/run', 'metric': 'train/box', 'epoch': '1', 'value': '3', 'smoothed': '3'}
