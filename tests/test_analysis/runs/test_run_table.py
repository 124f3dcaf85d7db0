"""Several runs in one table."""

from pathlib import Path

import pytest

from detkit.analysis.runs.run_logs import read_usable
from detkit.analysis.runs.run_table import RunSummary, find_runs, run_table, summarize_run
from detkit.engine.checkpoint import describe_model, save_checkpoint
from detkit.utils.errors import ConfigError, DataError

HEADER = 'epoch,time,train/cls,train/top1,lr/weight,metrics/accuracy/top1,metrics/accuracy/cross_entropy\n'
ROWS = ('1,10.5,1.4,.3,.1,.4,1.5', '2,20,1.1,.5,.1,,', '3,30,1.0,.6,.1,.7,1.1', '4,75.9,.9,.8,.1,.7,1.2')


def write_run(folder: Path, rows: tuple[str, ...] = ROWS, **meta) -> Path:
    folder.mkdir(parents=True)
    (folder / 'best.pth').write_bytes(b'damaged')
    meta = {**describe_model(None, '', ['cat', 'dog'], 'cls', {}), 'parameters': 250, **meta}
    save_checkpoint({'meta': meta, 'state_dict': {}}, folder / 'last.pth')
    (folder / 'results.csv').write_text(HEADER + '\n'.join(rows) + '\n')
    return folder


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in table.splitlines() if line[0] == '|']


def test_a_run_is_read(tmp_path):
    run = summarize_run(write_run(tmp_path / 'run'))
    assert (run.name, run.epochs, run.seconds, run.best_epoch) == ('run', 4, 75.9, 4)  # the last of equals
    assert run.best('accuracy/top1') == 0.7 and run.last('accuracy/top1') == 0.7
    assert run.best('train/top1') == 0.8 and run.last('train/top1') == 0.8
    assert run.best('nothing') is None and run.last('nothing') is None
    assert run.parameters == 250
    other = summarize_run(write_run(tmp_path / 'other', best_metric='accuracy/cross_entropy'))
    assert other.best_epoch == 3  # of which smaller is better


def test_a_run_without_a_checkpoint_and_with_a_hostile_config(tmp_path):
    folder = write_run(tmp_path / 'run')
    (folder / 'last.pth').unlink()
    (folder / 'train.log').touch()
    (folder / 'config.py').write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    run = summarize_run(folder)
    assert run.parameters is None and run.best_epoch == 4 and cells(run_table([run]))[1][1] == ''
    assert not (tmp_path / 'ran').exists()


def test_a_run_without_validation(tmp_path):
    run = summarize_run(write_run(tmp_path / 'run', ('1,10.5,1.4,.3,.1,,',)))
    assert run.best_epoch is None and run.best('train/top1') is None and run.last('train/top1') == 0.3
    assert cells(run_table([run]))[1][4:] == ['', '', '0.300']


def test_the_table_of_several_runs(tmp_path):
    runs = [
        RunSummary('plain', 21_729_592, 60, 3700.0, 3, {'accuracy/top1': {3: 0.91, 4: 0.9}, 'train/top1': {3: 0.95}}),
        RunSummary('modern', 1000, 8, 75.0, 7, {'accuracy/top1': {7: 0.985}}),
    ]
    header, first, second = cells(run_table(runs))
    assert header == ['run', 'parameters', 'epochs', 'time', 'best epoch', 'top1', 'last', 'train top1', 'last', 'gain']
    assert first == ['plain', '21,729,592', '60', '1:01:40', '3', '0.910', '0.900', '0.950', '0.950', '']
    assert second == ['modern', '1,000', '8', '1:15', '7', '0.985', '0.985', '', '', '+0.075']
    assert [row[5:] for row in cells(run_table(runs, ['train/top1']))] == [
        ['train top1', 'last', 'gain'],
        ['0.950', '0.950', ''],
        ['', '', ''],
    ]
    lines = run_table(runs, markdown=True).splitlines()
    assert len(lines) == 4 and set(lines[1]) == set('|-:')
    assert 'gain' not in run_table(runs[:1])
    with pytest.raises(ConfigError, match="'accuracy/top'.*Did you mean 'accuracy/top1'"):
        run_table(runs, ['accuracy/top'])


@pytest.mark.parametrize(
    ('metric', 'values', 'gain'),
    [('train/cls', (1.5, 1.2), '+0.300'), ('accuracy/cross_entropy', (1.0, 1.4), '-0.400')]
    + [('coco/bbox_mAP_s', values, '') for values in ((-1.0, 0.2), (0.2, -1.0))],
)
def test_a_gain_is_what_is_better(metric, values, gain):
    runs = [RunSummary(str(value), 1, 1, 1.0, 1, {metric: {1: value}}) for value in values]
    assert cells(run_table(runs, [metric]))[2][-1] == gain


def test_mean_average_precision_of_each_task_comes_first():
    metrics = dict.fromkeys(('train/box', 'coco/bbox_mAP', 'coco/bbox_mAP50', 'coco/segm_mAP'), {1: 0.5})
    assert cells(run_table([RunSummary('a', 1, 1, 1.0, 1, metrics)]))[0][5:] == ['bbox mAP', 'last', 'segm mAP', 'last']


def test_folders_of_runs(tmp_path):
    for name in ('b', 'a'):
        write_run(tmp_path / 'runs' / name)
    (tmp_path / 'runs' / 'no_run').mkdir()
    a, b = tmp_path / 'runs' / 'a', tmp_path / 'runs' / 'b'
    empty = tmp_path / 'runs' / 'no_run'
    assert find_runs([tmp_path / 'runs']) == ([a, b], []) and find_runs([b, empty, a]) == ([b, a], [empty])
    with pytest.raises(DataError, match='no_run.*holds no results.csv'):
        find_runs([empty])


def test_a_damaged_run_leaves_the_others_in_the_table(tmp_path):
    whole, empty = write_run(tmp_path / 'whole'), write_run(tmp_path / 'empty', ())
    summaries, failed = read_usable(summarize_run, [empty, whole])
    assert [run.name for run in summaries] == ['whole'] and len(failed) == 1 and 'has no epoch' in failed[0]
    with pytest.raises(DataError, match='has no epoch'):
        read_usable(summarize_run, [empty])


def test_runs_that_are_not_whole(tmp_path):
    with pytest.raises(DataError, match='has no epoch'):
        summarize_run(write_run(tmp_path / 'empty', ()))
