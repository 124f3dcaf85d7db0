"""tools/analyze/benchmark.py and complexity.py from the command line."""

import csv
import json

import pytest
from builders import CONFIGS
from small_models import write_checkpoint, write_images
from tool_helpers import load_tool, modules_loaded_by_help, run_tool, write_yolo_set

from detkit.datasets.class_names import COCO80

DET, SEG = (CONFIGS / 'yolov8' / f'{task}_n_coco8.py' for task in ('det', 'seg'))
FAST = ('--device', 'cpu', '--rounds', 2)


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp('images')
    write_images(folder, 2)
    return folder


def test_benchmark_prints_and_writes(images, tmp_path, monkeypatch, capsys):
    checkpoint = write_checkpoint(tmp_path / 'seg.pth', classes=COCO80)
    code = run_tool(
        monkeypatch,
        'analyze/benchmark',
        DET,
        SEG,
        '--checkpoints',
        'none',
        checkpoint,
        *FAST,
        '--no-memory',
        '--img-size',
        64,
        '--batch-size',
        1,
        2,
        '--images',
        images,
        '--json',
        tmp_path / 'b.json',
        '--csv',
        tmp_path / 'b.csv',
    )
    printed = capsys.readouterr().out
    assert code == 0 and '2 variants in turns, 2 blocks of 1 rounds' in printed
    for text in ('3,157,184', '3,409,952', 'network, batch 2', '| load |', f'results in {tmp_path}'):
        assert text in printed
    variants = json.loads((tmp_path / 'b.json').read_text())['variants']
    assert [variant['label'] for variant in variants] == ['det_n_coco8', 'seg_n_coco8']
    assert len(list(csv.DictReader((tmp_path / 'b.csv').open()))) == 4


@pytest.mark.thorough
def test_benchmark_measures_memory(images, tmp_path, monkeypatch, capsys):
    """Memory is measured in a process of its own."""
    written = tmp_path / 'b.json'
    code = run_tool(
        monkeypatch, 'analyze/benchmark', DET, *FAST, '--images', images, '--img-size', 64, '--json', written
    )
    assert code == 0 and 'MiB, batch 1' in capsys.readouterr().out
    memory = json.loads(written.read_text())['variants'][0]['batches']['1']['memory_mib']
    assert memory['process'] is None or memory['process'] > memory['before'] > 0


def test_benchmark_of_training(tmp_path, monkeypatch, capsys):
    root = write_yolo_set(tmp_path / 'data')
    code = run_tool(
        monkeypatch,
        'analyze/benchmark',
        SEG,
        '--train',
        *FAST,
        '--no-memory',
        '--batch-size',
        2,
        '--cfg-options',
        f'data_root={root}',
        'img_size=64',
        'cache=none',
    )
    printed = capsys.readouterr().out
    assert code == 0 and 'step, batch 2' in printed and 'workers needed' in printed


@pytest.mark.parametrize(
    ('arguments', 'text'),
    [
        ((DET, '--checkpoints', 'a.pth', 'b.pth'), '2 checkpoints for 1 configs'),
        ((DET, '--batch-size', 0), 'a batch size is 0'),
        ((DET, '--rounds', 1), 'at least 2 rounds'),
        ((DET, '--images', 'nowhere.jpg'), 'does not exist'),
        ((DET, '--checkpoints', 'nowhere.pth'), 'does not exist'),
        ((DET, '--metrics'), 'random weights, of which a test says nothing'),
        ((DET, '--device', 'warp'), "device 'warp' cannot be used"),
        ((CONFIGS / 'yolov8' / 'det_o_coco8.py',), 'det_o_coco8.py'),
    ],
)
def test_mistakes_end_in_a_sentence(arguments, text, images, monkeypatch, capsys):
    assert run_tool(monkeypatch, 'analyze/benchmark', *FAST, '--images', images, '--no-memory', *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ') and text in error


def test_options_that_exclude_each_other(capsys):
    tool = load_tool('analyze/benchmark')
    for option in (['--amp'], ['--img-size', '64'], ['--checkpoints', 'a.pth']):
        with pytest.raises(SystemExit):
            tool.parse_args([str(DET), '--train', *option])
        assert f'{option[0]} is for prediction' in capsys.readouterr().err
    for words in (['--confidence', '1'], ['--split', 'train'], ['--train', '--metrics']):
        with pytest.raises(SystemExit):
            tool.parse_args([str(DET), *words])
    assert tool.parse_args([str(DET), '--metrics', '--split', 'train']).split == 'train'


def test_complexity_prints_and_writes(tmp_path, monkeypatch, capsys):
    code = run_tool(
        monkeypatch,
        'analyze/complexity',
        SEG,
        '--device',
        'cpu',
        '--rounds',
        1,
        '--img-size',
        64,
        96,
        '--json',
        tmp_path / 'c.json',
        '--under',
        'head',
        '--depth',
        1,
    )
    printed = capsys.readouterr().out
    assert code == 0 and 'proto' in printed and 'backbone' not in printed
    assert 'one image of 64 x 96: 3,409,952 parameters' in printed
    assert json.loads((tmp_path / 'c.json').read_text())[0]['parameters'] == 3_409_952
    assert (
        run_tool(
            monkeypatch, 'analyze/complexity', SEG, '--device', 'cpu', '--rounds', 1, '--img-size', 64, '--under', 'nck'
        )
        == 2
    )
    assert "Did you mean 'neck'" in capsys.readouterr().err


@pytest.mark.parametrize('name', ['benchmark', 'complexity'])
def test_help_needs_no_torch(name):
    assert 'torch' not in modules_loaded_by_help(f'analyze/{name}')
