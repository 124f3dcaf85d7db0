"""browse_dataset.py, dataset_stats.py, plot_logs.py and plot_schedule.py from the command line."""

import csv
from pathlib import Path

import cv2
import pytest
from builders import CONFIGS
from small_models import write_checkpoint
from tool_helpers import modules_loaded_by_help, run_tool, write_yolo_set

from detkit.analysis.errors.evaluated_model import ModelEvaluation
from detkit.datasets.class_names import COCO80
from detkit.engine.evaluate import EvaluationSettings

CONFIG = CONFIGS / 'yolov8' / 'seg_n_coco8.py'


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return write_yolo_set(tmp_path_factory.mktemp('set'))


@pytest.mark.parametrize('name', ['browse_dataset', 'dataset_stats', 'plot_logs', 'plot_schedule', 'print_config'])
def test_help_needs_no_torch(name):
    assert not {'torch', 'mmengine', 'cv2', 'matplotlib'} & modules_loaded_by_help(f'analyze/{name}')


def test_browse_dataset(root, tmp_path, monkeypatch, capsys):
    options = '--cfg-options', f'data_root={root}', 'img_size=64', 'batch_size=2', 'num_workers=0'
    tool = 'analyze/browse_dataset'
    assert run_tool(monkeypatch, tool, CONFIG, '--out', tmp_path, '--rows', 1, '--epochs', 1, 100, *options) == 0
    assert capsys.readouterr().out.endswith(f'train_sheet0.jpg, train_sheet1.jpg, train_sheet2.jpg in {tmp_path}\n')
    sheet = cv2.imread(str(tmp_path / 'train_sheet0.jpg'))
    assert sheet.shape[1] > 3 * 600
    code = run_tool(
        monkeypatch,
        tool,
        CONFIG,
        '--split',
        'val',
        '--stage',
        'before',
        '--class',
        'dog',
        '--number',
        1,
        '--out',
        tmp_path,
        *options,
    )
    assert code == 0 and '1 of 2 images in val_sheet0.jpg' in capsys.readouterr().out
    assert run_tool(monkeypatch, tool, CONFIG, '--indices', 99, *options) == 2
    assert 'there is no image 99' in capsys.readouterr().err


def test_dataset_stats(root, tmp_path, monkeypatch, capsys):
    page, found = tmp_path / 'data.html', tmp_path / 'found.csv'
    code = run_tool(
        monkeypatch,
        'analyze/dataset_stats',
        CONFIG,
        '--out',
        page,
        '--csv',
        found,
        '--tiny',
        50,
        '--cfg-options',
        f'data_root={root}',
    )
    printed = capsys.readouterr().out
    assert code == 0 and '78 classes never seen, in train or val: bicycle, car, ' in printed
    assert 'train: 6 labels tiny' in printed and printed.endswith(f'report in {page}\n')
    assert '<title>Data of seg_n_coco8</title>' in page.read_text()
    assert [row['split'] for row in csv.DictReader(found.open())] == ['train'] * 6 + ['val'] * 4
    code = run_tool(monkeypatch, 'analyze/dataset_stats', CONFIG, '--cfg-options', f'data_root={tmp_path / "no"}')
    assert code == 2 and 'does not exist' in capsys.readouterr().err


def test_dataset_stats_with_a_model(tmp_path, monkeypatch, capsys):
    """A model made by chance calls each whole image something; one image is labelled so, one is labelled otherwise."""
    root, checkpoint = write_yolo_set(tmp_path / 'set'), write_checkpoint(tmp_path / 'seg.pth', classes=COCO80)
    options = [f'data_root={root}', 'img_size=64', 'num_workers=0']
    results = ModelEvaluation(CONFIG, checkpoint, options, EvaluationSettings('val', device='cpu')).run().results
    agreed, swapped = sorted(results, key=lambda result: result.pred_instances.scores[0])
    seen = agreed.pred_instances.labels[0]
    unseen = set(range(80)).difference(swapped.pred_instances.labels.tolist()).pop()
    for result, label in ((agreed, seen), (swapped, unseen)):
        path = root / 'labels' / 'val' / f'{Path(result.img_path).stem}.txt'
        path.write_text(f'{label} 0 0 1 0 1 1 0 1')

    page, found = tmp_path / 'data.html', tmp_path / 'found.csv'
    arguments = ['--device', 'cpu', '--out', page, '--csv', found, '--no-near-duplicates', '--checkpoint']
    tool = 'analyze/dataset_stats'
    code = run_tool(monkeypatch, tool, CONFIG, *arguments, f'val={checkpoint}', '--cfg-options', *options)
    assert code == 0 and f'val: 1 object swapped as {checkpoint} sees it' in capsys.readouterr().out
    (row,) = [row for row in csv.DictReader(found.open()) if row['kind'] == 'swapped']
    assert row['image'] == swapped.img_path and row['class'].startswith(f'{COCO80[unseen]} / ')
    assert float(row['score']) == pytest.approx((1 + swapped.pred_instances.scores[0]) / 2, abs=1e-3)
    assert 'Labels of val that the model disagrees with' in page.read_text()
    assert 'Labels of train that' not in page.read_text()

    code = run_tool(monkeypatch, tool, CONFIG, *arguments, 'test=a.pth', '--cfg-options', *options)
    assert code == 2 and 'add test to --split' in capsys.readouterr().err


def test_plot_schedule(root, tmp_path, monkeypatch, capsys):
    out, values = tmp_path / 'schedule.svg', tmp_path / 'values.csv'
    code = run_tool(
        monkeypatch,
        'analyze/plot_schedule',
        CONFIG,
        '--out',
        out,
        '--csv',
        values,
        '--cfg-options',
        f'data_root={root}',
        'batch_size=2',
    )
    printed = capsys.readouterr().out
    assert code == 0 and 'iterations an epoch; 100 epochs' in printed and '| weight ' in printed
    assert printed.endswith(f'schedule in {out}, values in {values}\n') and '<svg' in out.read_text()
    with pytest.raises(SystemExit, match='2'):
        run_tool(monkeypatch, 'analyze/plot_schedule', CONFIG, '--num-images', 8, '--out', tmp_path / 'x.txt')
    assert 'its name ends in .png or .svg or .pdf' in capsys.readouterr().err


def test_plot_logs(tmp_path, monkeypatch, capsys):
    for name, gain in (('first', 1.0), ('second', 0.5)):
        (tmp_path / name).mkdir()
        rows = ''.join(f'{epoch},{epoch * 9},{gain / epoch},{gain * epoch / 50}\n' for epoch in range(1, 41))
        (tmp_path / name / 'results.csv').write_text('epoch,time,train/box,metrics/coco/bbox_mAP\n' + rows)
    out, values = tmp_path / 'logs.png', tmp_path / 'logs.csv'
    code = run_tool(
        monkeypatch, 'analyze/plot_logs', tmp_path, '--smooth', 0.6, '--x', 'time', '--out', out, '--csv', values
    )
    printed = capsys.readouterr().out
    assert code == 0 and '| coco/bbox_mAP | second |    0.4 |' in printed and printed.endswith(f'values in {values}\n')
    assert cv2.imread(str(out)).shape[1] > 800 and len(values.read_text().splitlines()) == 161
    assert run_tool(monkeypatch, 'analyze/plot_logs', tmp_path, '--list') == 0
    assert capsys.readouterr().out == 'train/box\ncoco/bbox_mAP\n'
    for stopped, content in (('empty', 'epoch,train/box\n'), ('odd', '\0')):
        (tmp_path / stopped).mkdir()
        (tmp_path / stopped / 'results.csv').write_text(content)
    capsys.readouterr()
    assert run_tool(monkeypatch, 'analyze/plot_logs', tmp_path, '--list') == 0
    printed = capsys.readouterr()
    assert 'train/box' in printed.out.split() and printed.err.count('left out: ') == 2 and 'empty' in printed.err
    assert run_tool(monkeypatch, 'analyze/plot_logs', tmp_path / 'empty', '--list') == 2
    assert run_tool(monkeypatch, 'analyze/plot_logs', tmp_path, '--keys', 'train/obj') == 2
    assert 'train/box' in capsys.readouterr().err
