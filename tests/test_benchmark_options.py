"""Options of the benchmarks that make no sense are refused before anything is measured, and results are checked."""

import ast
import importlib
import json
import os
import subprocess
import sys
from argparse import ArgumentTypeError
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from disks import full_disk

pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='the scripts need Linux')


@pytest.fixture(autouse=True)
def importable(repo, monkeypatch):
    monkeypatch.syspath_prepend(str(repo / 'benchmarks'))


@pytest.mark.parametrize(
    ('script', 'arguments', 'message'),
    [
        ('prediction', ['--rounds', '0'], '--rounds: must be a whole number of at least 1, not 0'),
        ('prediction', ['--source', 'nowhere'], '--source nowhere is no folder with pictures'),
        ('train_step', ['--batch-size', 'many'], '--batch-size: must be a whole number of at least 1, not many'),
        ('train_step', ['--family', 'yolo_world', '--task', 'seg'], '--task seg: yolo_world has det'),
        ('validation', ['--family', 'yolo_world', '--size', 'n'], '--size n: yolo_world has s, m, l, x'),
        ('train_job', ['--workers', '-1'], '--workers: must be a whole number of at least 0, not -1'),
        ('train_job', ['--epochs', '1'], 'so that it takes 2 at least'),
        ('gpu', ['--device', 'cpu', '--epochs', '1'], 'so that it takes 2 at least'),
        ('cost_curves', ['--epochs', '1'], '--epochs 1: a line needs two epochs or more'),
        ('cost_curves', ['--workers', '2'], '--workers 2: a line needs two numbers of workers or more, ascending'),
        ('cost_curves', ['--workers', '2', '2'], '--workers 2 2: a line needs'),
        ('run_all', ['--from', 'nowhere.json'], 'nowhere.json cannot be read'),
        ('run_all', ['--from', 'x.json', '--only', 'masks'], '--from measures nothing: leave out --only'),
        ('run_all', ['--only', 'mask'], "--only: there is no benchmark 'mask'. Did you mean 'masks'?"),
        ('run_all', ['--only', '12'], "--only: there is no benchmark '12'. See --help."),
        ('run_all', ['--docs', 'nowhere.md', '--quick'], '--docs nowhere.md cannot be read'),
        ('torchvision_step', ['--batch-size', '0'], '--batch-size: must be a whole number of at least 1, not 0'),
        ('torchvision_step', ['--img-size', '-5'], '--img-size: must be a whole number of at least 1, not -5'),
        ('evaluation', ['--predictions', '0'], '--predictions: must be a whole number of at least 1, not 0'),
        ('validation', ['--images', '1'], '--images: must be a whole number of at least 2, not 1'),
        ('video_memory', ['--frames', '2', '--report', '0'], '--report: must be a whole number of at least 1, not 0'),
        ('video_memory', ['--frames', '2', '--report', '3'], '--report 3: the video has 2 frames'),
        ('tracking', ['--seeds', '0'], '--seeds: must be a whole number of at least 1, not 0'),
        ('detr_step', ['--shapes', '0x0'], '--shapes: must be a whole number of at least 1, not 0'),
        ('detr_step', ['--shapes', '32'], '--shapes: must be height x width of each image'),
        ('masks', ['--img-size', '1', '1'], '--img-size: must be a whole number of at least 4, not 1'),
        (
            'train_step',
            ['--img-size', '65'],
            '--img-size: must be a multiple of 32 and at least 64, such as 96, not 65',
        ),
        ('realtime_step', ['--img-size', '1'], 'must be a multiple of 32 and at least 64, such as 64, not 1'),
        ('realtime_step', ['--peer', 'rfdetr'], '--peer rfdetr goes with --family rfdetr'),
        ('realtime_step', ['--runtime', 'onnx'], '--runtime onnx predicts: it goes with --job predict'),
        (
            'realtime_step',
            ['--job', 'predict', '--runtime', 'onnx', '--amp'],
            '--runtime onnx computes in float32: leave out --amp, or take openvino',
        ),
        ('loss', ['--boxes', '40000'], '--boxes 40000: the masks of an image number 32767 objects at most'),
        ('gpu', ['--device', 'foo'], '--device: foo is no device of this machine'),
        (
            'gpu',
            ['--device', 'cpu', '--train-batches', '--predict-batches'],
            '--train-batches and --predict-batches are both empty',
        ),
        ('import_time', ['--peer', '/none'], '--peer: /none is no program that can be run'),
        ('kill_and_resume', ['--kills', '-1'], '--kills: must be a whole number of at least 0, not -1'),
        ('kill_and_resume', ['--kills', '0', '--faults', '0'], 'there is nothing to try'),
        ('serving', ['x.pth', '--images', 'nowhere'], '--images nowhere is no folder with pictures'),
        ('loss', ['--threads', '100000'], '--threads: must be at most'),
    ],
    ids=lambda part: ' '.join(part) if isinstance(part, list) else '',
)
def test_options_that_make_no_sense_are_refused(script, arguments, message, monkeypatch, capsys):
    assert message in refusal(script, arguments, monkeypatch, capsys)


def refusal(script, arguments, monkeypatch, capsys) -> str:
    """Return the sentence with which a script ends."""
    monkeypatch.setattr(sys, 'argv', [f'{script}.py', *arguments])
    with pytest.raises(SystemExit) as error:
        importlib.import_module(script).main()
    return f'{error.value} {capsys.readouterr().err}'


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
@pytest.mark.parametrize(
    ('script', 'arguments'),
    [('gpu', ['--device', 'cuda:0']), ('gpu', []), ('detr_step', ['--device', 'cuda'])],
    ids=['gpu', 'default', 'detr_step'],
)
def test_a_gpu_that_is_not_there_is_told(script, arguments, monkeypatch, capsys):
    assert 'finds no GPU for cuda' in refusal(script, arguments, monkeypatch, capsys)


def test_options_of_all_scripts_have_types_that_refuse(repo):
    """No script takes a plain int, or a path that it first uses when all is measured."""
    for path in sorted((repo / 'benchmarks').glob('*.py')):
        calls = [
            node
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and getattr(node.func, 'attr', '') == 'add_argument'
        ]
        for call in calls:
            types = [ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg == 'type']
            (option,) = [argument.value for argument in call.args]
            if option not in ('--seed', '--loader'):
                assert 'int' not in types, f'{path.name} {option}'
            wanted = {'--json': 'output_file', '--folder': 'output_folder', '--threads': 'thread_count'}.get(option)
            assert wanted is None or types == [wanted], f'{path.name} {option}'


def test_a_file_that_cannot_be_written_ends_a_script_with_its_name(tmp_path):
    import arguments

    def fill() -> None:
        raise OSError(28, 'No space left on device', 'x.json')

    with pytest.raises(SystemExit, match=r'error: x\.json: No space left on device'):
        arguments.run(fill)


def test_where_results_go_is_checked_first(tmp_path):
    import arguments

    (tmp_path / 'file').write_text('x')
    assert arguments.output_file(str(tmp_path / 'new' / 'x.json')).parent.is_dir()
    assert arguments.output_folder(str(tmp_path / 'other')).is_dir()
    for kind, path, message in (
        (arguments.output_file, tmp_path, 'is a folder; name a file in it'),
        (arguments.output_file, tmp_path / 'file' / 'x.json', 'is no folder to write into'),
        (arguments.output_folder, tmp_path / 'file', 'is no folder to write into'),
    ):
        with pytest.raises(ArgumentTypeError, match=message):
            kind(str(path))
    with full_disk(0), pytest.raises(ArgumentTypeError, match='is no folder to write into: File too large'):
        arguments.output_file(str(tmp_path / 'x.json'))
    assert arguments.thread_count('1') == 1
    with pytest.raises(ArgumentTypeError, match=f'at most {os.cpu_count()}'):
        arguments.thread_count(str(os.cpu_count() + 1))


def test_mistakes_that_detkit_finds_are_one_sentence(repo):
    import arguments

    from detkit.config import load_config

    with pytest.raises(SystemExit, match='error: there is no config file nowhere'):
        arguments.run(lambda: load_config('nowhere'))


def test_a_side_that_fails_ends_its_script():
    import sides

    assert sides.output_of([sys.executable, '-c', 'print(1); print([2])']) == [2]
    with pytest.raises(SystemExit, match='ended with status 3; its message is above'):
        sides.output_of([sys.executable, '-c', 'raise SystemExit(3)'])
    with pytest.raises(SystemExit, match='printed no result'):
        sides.output_of([sys.executable, '-c', ''])


def test_the_python_of_a_peer_needs_no_detkit(repo):
    """``--peer-python`` runs the script in an environment that may have the peer alone."""
    code = "import sys; sys.modules['detkit'] = None; import read_annotations, arguments; arguments.run(lambda: 1 / 0)"
    done = subprocess.run([sys.executable, '-c', code], cwd=repo / 'benchmarks', capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].startswith('ZeroDivisionError')


def test_files_of_other_programs_are_no_results(tmp_path):
    import run_all

    for content, message in (('[1', 'cannot be read'), ('{"machine": {}}', 'has no failed, peaks, scripts, times')):
        (tmp_path / 'found.json').write_text(content)
        with pytest.raises(SystemExit, match=message):
            run_all.read_found(tmp_path / 'found.json', run_all.SCRIPTS)


GOOD = {
    'machine': {'processor': 'x', 'cores': 2, 'load before': 1.0, 'python': '3.11', 'versions': {'torch': '2'}},
    'peaks': {'float32': 1e9, 'bfloat16': 2e9},
    'times': {'masks': '2026'},
    'scripts': {'masks': [{'what': 'a', 'unit': 's', 'own': [1.0], 'peer': 'b', 'theirs': [2.0], 'work': 1.0}]},
    'failed': {},
}


@pytest.mark.parametrize(
    ('where', 'value', 'message'),
    [
        ('machine', [], 'machine must be an object'),
        ('machine', {}, 'machine has no processor'),
        ('machine versions', [1], 'machine.versions must be an object of texts'),
        ('peaks', {}, 'peaks.float32 must be a number above 0'),
        ('peaks bfloat16', 0, 'peaks.bfloat16 must be a number above 0 of operations a second, not 0'),
        ('peaks bfloat16', float('nan'), 'peaks.bfloat16 must be a number above 0'),
        ('peaks float16', 1e9, "there is no number format 'float16'"),
        ('times', [1], 'times must be an object'),
        ('times', {}, 'times and scripts must have the same names, but masks'),
        ('times masks', 3, 'times must be an object of texts'),
        ('failed', ['a'], 'failed must be an object'),
        ('failed', {'loss': 1}, 'failed must be an object of texts'),
        ('scripts', [1], 'scripts must be an object'),
        ('scripts mask', [], "scripts: there is no script 'mask'. Did you mean 'masks'"),
        ('scripts masks', {}, 'scripts.masks: must be a list'),
        ('scripts masks 0', 1, 'scripts.masks: measurement 0: must be an object'),
        ('scripts masks 0 wrong', 1, "there is no key 'wrong'"),
        ('scripts masks 0', {'what': 'a', 'unit': 's'}, 'it has no own'),
        ('scripts masks 0 own', [], 'own has no sample'),
        ('scripts masks 0 own', 'abc', 'own must be a list of numbers'),
        ('scripts masks 0 theirs', ['1'], 'theirs must be a list of numbers'),
        ('scripts masks 0 theirs', [10**400], 'theirs must be a list of numbers'),
        ('scripts masks 0 own', [0.0], 'work needs samples above 0'),
        ('scripts masks 0 work', '1', 'work must be a number of operations'),
        ('scripts masks 0 peer', '', 'theirs has samples, but peer has no name'),
        ('scripts masks 0 unit', 1, 'unit must be a text'),
        ('scripts masks 0 number_format', [], 'number_format must be one of float32, bfloat16'),
        ('scripts masks 0 higher_is_better', 1, 'higher_is_better must be true or false'),
        ('more', {}, "there is no key 'more'"),
    ],
    ids=lambda part: part if isinstance(part, str) else type(part).__name__,
)
def test_damaged_results_are_refused(where, value, message, tmp_path):
    import run_all

    path, content = tmp_path / 'found.json', json.loads(json.dumps(GOOD))
    path.write_text(json.dumps(content))
    assert run_all.tables(run_all.read_found(path, run_all.SCRIPTS)).count('2.00 ×') == 1
    *parents, last = where.split()
    part = content
    for key in parents:
        part = part[0] if key == '0' else part[key]
    part[0 if last == '0' else last] = value
    path.write_text(json.dumps(content))
    with pytest.raises(SystemExit) as error:
        run_all.read_found(path, run_all.SCRIPTS)
    assert str(error.value).startswith(f'{path} is not as') and message in str(error.value)


def test_a_processor_without_bfloat16_measures_in_float32_alone(tmp_path, monkeypatch, capsys):
    import run_all

    monkeypatch.setattr(run_all, 'cpu_has_bf16', lambda: False)
    names = run_all.scripts_of_this_machine()
    printed = capsys.readouterr().out
    assert 'RT-DETR, train, float32' in names and 'RT-DETR, train, bf16' not in names
    assert 'training step, bf16; training, bf16' in printed and 'float32' not in printed
    path, content = tmp_path / 'found.json', json.loads(json.dumps(GOOD))
    del content['peaks']['bfloat16']
    path.write_text(json.dumps(content))
    assert 'bfloat16' not in run_all.tables(run_all.read_found(path, run_all.SCRIPTS))
    content['scripts']['masks'][0]['number_format'] = 'bfloat16'
    path.write_text(json.dumps(content))
    with pytest.raises(SystemExit, match='peaks has no bfloat16, which scripts.masks computes in'):
        run_all.read_found(path, run_all.SCRIPTS)


def test_results_of_another_machine_are_not_kept(tmp_path):
    import run_all

    path = tmp_path / 'found.json'
    path.write_text(json.dumps(GOOD))
    with pytest.raises(SystemExit, match=r'--keep .* was measured elsewhere \(processor x, here '):
        run_all.main(['--keep', str(path), '--only', 'masks', '--quick'])


@pytest.mark.parametrize('text', ['', '{end}\nb\n{start}\n', '{start}\n{end}\n{start}\n{end}\n'])
def test_a_page_without_its_marks_is_refused_before_the_measurement(text, tmp_path, monkeypatch):
    import run_all

    page = tmp_path / 'page.md'
    page.write_text(text := text.format(start=run_all.START, end=run_all.END))
    monkeypatch.setattr(run_all, 'measure', lambda _: pytest.fail('it was measured'))
    with pytest.raises(SystemExit, match='must have a line'):
        run_all.main(['--docs', str(page)])
    assert page.read_text() == text


def test_what_was_measured_before_a_kill_is_kept(tmp_path, monkeypatch):
    import run_all
    from comparison import Comparison

    def run_script(name: str, quick: bool, folder: Path) -> tuple[list[Comparison], str]:
        if name == 'loss':
            raise KeyboardInterrupt
        return [Comparison('a', 's', [1.0])], ''

    monkeypatch.setattr(run_all, 'run_script', run_script)
    path = tmp_path / 'found.json'
    with pytest.raises(KeyboardInterrupt):
        run_all.main(['--quick', '--only', 'masks', 'loss', '--json', str(path)])
    found = run_all.read_found(path, run_all.SCRIPTS)
    assert list(found['scripts']) == ['masks'] and not found['failed']


def test_all_results_become_tables(tmp_path, monkeypatch, capsys, repo):
    import run_all
    from comparison import Comparison, write

    def run(command: list[str], **_: object) -> SimpleNamespace:
        if command[1].endswith('loss.py'):
            return SimpleNamespace(returncode=3)
        step = Comparison('a step', 's', [2.0, 1.0, 4.0], 'another', [6.0], work=1e9, number_format='bfloat16')
        write([step, Comparison('alone', 'ms', [5.0])], Path(command[command.index('--json') + 1]))
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(run_all, 'subprocess', SimpleNamespace(run=run))
    monkeypatch.setattr(run_all, 'measure_peak', lambda quick: {'float32': 1e9, 'bfloat16': 2e9})
    page, path = tmp_path / 'page.md', tmp_path / 'found.json'
    page.write_text(f'before\n{run_all.START}\nold\n{run_all.END}\nafter\n')
    arguments = ['--quick', '--docs', str(page)]
    assert run_all.main([*arguments, '--json', str(path), '--only', 'data', 'loss']) == 1
    text = page.read_text()
    assert (
        text.startswith(f'before\n{run_all.START}\n') and text.endswith(f'{run_all.END}\nafter\n') and 'old' not in text
    )
    (row,) = [line for line in text.splitlines() if 'a step' in line]
    cells = [cell.strip() for cell in row.strip('|').split('|')]
    assert cells == [
        'a step',
        '2 s (1 to 4)',
        'another: 6 s (6 to 6)',
        '3.00 ×',
        '25 %',
        '12.00 ×',
        '`data_pipeline.py`',
    ]
    assert 'Not measured: loss (exit status 3).' in text and f'torch {torch.__version__.split("+")[0]}' in text
    assert run_all.main(['--from', str(path), '--docs', str(page)]) == 1 and page.read_text() == text
    again = tmp_path / 'again.json'
    assert run_all.main([*arguments, '--json', str(again), '--keep', str(path), '--only', 'masks', 'loss']) == 1
    found = json.loads(again.read_text())
    assert list(found['scripts']) == list(found['times']) == ['data', 'masks'] and list(found['failed']) == ['loss']
    assert [line.count('a step') for line in page.read_text().splitlines()].count(1) == 2
    page.write_text('no marks')
    with pytest.raises(SystemExit, match='must have a line'):
        run_all.main(['--from', str(path), '--docs', str(page)])


def test_reading_is_measured_without_its_imports(repo):
    """Late imports happen before the clock runs."""
    code = """
import sys, detkit.datasets, read_annotations
read_annotations.import_way('detkit')
before = set(sys.modules)
detkit.datasets.CocoDataset, detkit.datasets.YoloTxtDataset
print('torch' in before, set(sys.modules) - before)
"""
    done = subprocess.run([sys.executable, '-c', code], cwd=repo / 'benchmarks', capture_output=True, text=True)
    assert done.stdout == 'True set()\n', done.stderr
