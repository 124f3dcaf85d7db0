"""The benchmarks run, on tiny sizes and without their peers, and measure what they print."""

import ast
import importlib.util
import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from itertools import count
from pathlib import Path
from types import ModuleType, SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from detkit.engine.amp import cpu_has_bf16

pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='memory is read from /proc')


ALONE = ['--batch-size', '1', '--img-size', '64']


@pytest.fixture(autouse=True)
def without_peers(repo, scenes_drawn_once, charts_drawn_once, monkeypatch):
    """Scripts can be imported, find no peer, and leave the number of threads as it was."""
    monkeypatch.syspath_prepend(str(repo / 'benchmarks'))
    find, threads = importlib.util.find_spec, torch.get_num_threads()
    absent = {'ultralytics', 'yolov5', 'transformers'}
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name, *rest: None if name in absent else find(name, *rest))
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def benchmark():
    import read_annotations

    return read_annotations


def test_all_ways_read_the_same_dataset(benchmark, tmp_path, capsys, monkeypatch):
    own, times = benchmark.run_child, []

    def run_child(python, *arguments, **variables):
        """Import torch once: of the children one is enough."""
        if 'pycocotools' in arguments and len(variables) and not times:
            times.append(own(python, *arguments, **variables))
        if 'pycocotools' in arguments:
            return times[0]
        for key, value in variables.items():
            monkeypatch.setenv(key, value)
        monkeypatch.setattr(sys, 'argv', ['read_annotations.py', *arguments])
        with monkeypatch.context() as patch:
            printed = []
            patch.setattr('builtins.print', lambda *values, **_: printed.append(values[0]))
            benchmark.main()
        return json.loads(printed[-1])

    monkeypatch.setattr(benchmark, 'run_child', run_child)
    monkeypatch.setattr('detkit.datasets.formats.coco_cache._LEAST_BYTES', 0)
    arguments = ['--folder', str(tmp_path), '--images', '12', '--bboxes', '40', '--rounds', '2', '--epochs', '2']
    monkeypatch.setattr(sys, 'argv', ['read_annotations.py', *arguments, '--workers', '0', '1'])
    found = benchmark.main()
    lines = [line.split(':')[0].strip() for line in capsys.readouterr().out.splitlines()]
    ways = ('detkit', 'detkit kept', 'detkit labels')
    whats = ('reading', 'reading (CPU)', 'memory of reading')
    titles = [f'{what}, 12 images, 40 objects, {way}' for way in ways for what in whats]
    assert lines[1:] == [*titles, '0 workers', '1 workers']
    assert [each.peer for each in found] == ['pycocotools'] * 6 + [''] * 3 and len(found[0].own) == 2
    content = json.loads((tmp_path / 'annotations.json').read_text())
    assert len(content['images']) == 12 and len(content['annotations']) == 40
    labels = sorted((tmp_path / 'labels' / 'train').iterdir())
    assert len(labels) == 12 and sum(len(path.read_text().splitlines()) for path in labels) == 40


def test_what_workers_copy_is_seen(benchmark):
    """The memory of this process is its own while it has no children."""
    assert benchmark.pss_megabytes(benchmark.os.getpid()) <= benchmark.status_megabytes('VmRSS') + 1


def test_the_times_of_imports_are_set_beside_torchs(repo, monkeypatch, capsys):
    import import_time

    monkeypatch.setattr(import_time, 'PEER_CASES', {'import torch': ('', True), 'import ultralytics': ('', True)})
    monkeypatch.setitem(import_time.CASES, 'first model', ('import os; os.stat({model!r})', True))
    comparisons = import_time.main(['--rounds', '1', '--cases', 'python', 'first model', '--peer', sys.executable])
    assert [(each.what[9:], each.peer) for each in comparisons if each.ratio > 0] == [
        ('import torch', 'import torch'),
        ('python', 'import torch'),
        ('first model', 'import torch'),
    ]
    lines = capsys.readouterr().out.splitlines()
    assert [line[:18].strip() for line in lines] == [
        'seconds, 1 process',
        'detkit',
        'python',
        'import torch',
        'first model',
        'peer',
        'import torch',
        'import ultralytics',
    ]
    assert all(' over torch, ' in lines[index] for index in (4, 7))
    with pytest.raises(SystemExit, match='no_such_module'):
        import_time.seconds_of('import no_such_module')


def test_servers_with_and_without_batches_are_set_side_by_side(repo, monkeypatch, tmp_path, capsys):
    """On servers in this process, to which the benchmark's clients send."""
    for package in ('fastapi', 'python_multipart', 'uvicorn'):
        pytest.importorskip(package)
    monkeypatch.syspath_prepend(str(repo / 'benchmarks'))
    monkeypatch.syspath_prepend(str(repo / 'tests' / 'test_serving'))
    import serving
    from serving_helpers import LIMITS, running
    from small_models import write_checkpoint

    from detkit.api import Detector
    from detkit.serving.model import ServedModel

    model = ServedModel(Detector(write_checkpoint(tmp_path / 'x.pth'), device='cpu'), LIMITS)
    monkeypatch.setattr(serving, 'SHAPES', ((48, 64), (64, 48)))

    @contextmanager
    def serve(name: str, options: list[str]) -> Iterator[int]:
        with running(model, batch_size=int(options[options.index('--batch-size') + 1])) as client:
            yield client.port

    monkeypatch.setattr(serving, 'serving', serve)
    arguments = ['x.pth', '--clients', '6', '--requests', '2', '--rounds', '1', '--batch-size', '4']
    assert serving.main([*arguments, '--query', 'img_size=64']) == 0
    title, _, alone, batched = capsys.readouterr().out.splitlines()
    assert title == '6 clients, 2 requests each'
    assert alone.split()[:2] == ['no', 'batches'] and alone.split()[-3:] == ['1.00', '0', '1.00']
    assert batched.split()[:3] == ['batches', 'of', '4'] and batched.split()[-2] == '0'
    assert serving.main([*arguments, '--query', 'img_size=64&wrong=1']) == 1
    assert capsys.readouterr().out.splitlines()[2].split()[-2] == '12'


def test_the_memory_of_tiled_prediction_is_measured(repo, monkeypatch, tmp_path, capsys):
    import tiled_prediction

    arguments = ['--folder', str(tmp_path), '--side', '300', '--tile', '128', '--img-size', '64', '--score-thr', '0.0']
    monkeypatch.setattr(sys, 'argv', ['tiled_prediction.py', *arguments, '--max-per-img', '50', '--stores', 'npy'])
    tiled_prediction.main()
    title, line = capsys.readouterr().out.splitlines()
    assert title == '300 x 300 pixels (0 MB decoded), tiles of 128' and int(line.split()[1]) > 0
    assert {path.name for path in tmp_path.iterdir()} == {'scene.npy', 'scene.png', 'scene.jpg'}
    peak, own, before = (float(value) for value in re.findall(r'(\d+) MB[,)]? ?', line.partition('peak')[2] + ',')[:3])
    assert peak >= own >= before > 50


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
def test_memory_does_not_grow_with_the_number_of_tiles(repo, monkeypatch, tmp_path, capsys):
    """Some 170 tiles, of which glibc before 2.38 kept 5 MB each."""
    monkeypatch.syspath_prepend(str(repo / 'benchmarks'))
    import tiled_prediction

    arguments = ['--folder', str(tmp_path), '--side', '6400', '--stores', 'npy']
    monkeypatch.setattr(sys, 'argv', ['tiled_prediction.py', *arguments])
    tiled_prediction.main()
    own, before = map(int, re.search(r'own (\d+) MB \((\d+) MB before\)', capsys.readouterr().out).groups())
    assert own - before < 650


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
def test_an_image_of_20000_pixels_is_tiled_within_4_gib(repo, monkeypatch, tmp_path, capsys):
    """It takes 1.2 GB decoded, and is held once."""
    monkeypatch.syspath_prepend(str(repo / 'benchmarks'))
    import tiled_prediction

    picture = np.zeros((20000, 20000, 3), np.uint8)  # of which the system holds no page before it is written
    for suffix in ('png', 'jpg'):
        assert cv2.imwrite(str(tmp_path / f'scene.{suffix}'), picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    arguments = ['--folder', str(tmp_path), '--tile', '4000', '--img-size', '64', '--stores', 'png', 'jpg']
    monkeypatch.setattr(sys, 'argv', ['tiled_prediction.py', *arguments])
    tiled_prediction.main()
    found = re.findall(r'peak (\d+) MB, own (\d+) MB \((\d+) MB before\)', capsys.readouterr().out)
    assert len(found) == 2
    for peak, own, before in (map(int, figures) for figures in found):
        assert peak < 4.2e3 and own - before < 1.7e3


def test_backends_of_coco_evaluation_are_set_beside_pycocotools(repo, monkeypatch, tmp_path, capsys):
    import comparison
    import evaluation

    path = tmp_path / 'found.json'
    found = evaluation.main(['--images', '6', '--predictions', '9', '--rounds', '2', '--json', str(path)])
    *whole, own = found
    assert whole[-1].what.endswith('6 images, 54 boxes, pycocotools') and whole[-1].peer == 'pycocotools'
    assert all(len(each.own) == len(each.theirs) == 2 and each.ratio > 0 for each in whole)
    assert own.ratio is None and all(
        0 < part < all_of_it for part, all_of_it in zip(own.own, whole[0].own, strict=True)
    )
    lines = [each.line for each in found]
    assert [each.line for each in comparison.read(path)] == lines == capsys.readouterr().out.splitlines()


@pytest.mark.parametrize('name', ['loss', 'anchor_loss'])
def test_losses_are_timed(name, capsys):
    script = importlib.import_module(name)
    (found,) = script.main([*ALONE, '--boxes', '2', '--steps', '2', '--threads', '1'])
    assert len(found.own) == 2 and min(found.own) > 0 and found.ratio is None
    assert capsys.readouterr().out.splitlines() == [found.line]


def test_samples_are_timed_beside_the_usual_way(repo, tmp_path, monkeypatch):
    import data_pipeline
    from tiny_data import write_tiny_data

    monkeypatch.setattr(data_pipeline.cv2, 'setNumThreads', lambda _: None)
    # Where a process's time is counted in ticks, that of small pictures is 0.
    monkeypatch.setattr(data_pipeline, 'time', SimpleNamespace(process_time=count().__next__))
    root = write_tiny_data(tmp_path)
    images = next(path.parent for path in sorted(root.rglob('images/*/*')) if path.suffix in ('.jpg', '.png'))
    arguments = ['--data', str(root), '--images', str(images.relative_to(root)), '--rounds', '2', *ALONE]
    found = data_pipeline.main(arguments)
    assert [(each.peer, each.what.rsplit(', ')[-1]) for each in found] == [('chain', 'decode'), ('chain', 'cached')]
    assert all(each.ratio > 0 and len(each.own) == 2 for each in found)


def test_writing_of_checkpoints_is_timed(tmp_path):
    import checkpoint_writing

    held_up, whole = checkpoint_writing.main(['--size', 'n', '--rounds', '1', '--folder', str(tmp_path)])
    assert held_up.ratio > 0 and held_up.peer and len(whole.own) == 1 and not list(tmp_path.iterdir())


@pytest.fixture
def in_this_process(monkeypatch) -> Callable[[ModuleType], list[list[float]]]:
    """A function that makes a script work for both sides here; what it returns gets what they answered."""

    import sides

    def patch(script: ModuleType) -> list[list[float]]:
        served: list[list[float]] = []

        @contextmanager
        def started(path: str, name: str, argv: list[str]) -> Iterator[Callable[[], list[float]]]:
            monkeypatch.setattr(sys, 'stdin', io.StringIO('work\n' * 3))
            with redirect_stdout(io.StringIO()) as output:
                script.main([*argv, '--side', name])
            lines = output.getvalue().splitlines()
            served.extend(json.loads(line.removeprefix(sides.MARK)) for line in lines if line.startswith(sides.MARK))
            assert lines.index('ready') < len(lines) - 3
            answers = iter(served)
            yield lambda: next(answers)

        monkeypatch.setattr(sides, 'started', started)
        return served

    return patch


def says_what_it_computes_in(found, amp: bool) -> bool:
    kind = ('bf16', 'bfloat16') if amp and cpu_has_bf16() else ('float32', 'float32')
    return f' px, {kind[0]}' in found.what and found.number_format == kind[1]


@pytest.mark.parametrize(
    ('amp', 'family', 'name'),
    [
        ('--amp', 'yolov8', 'YOLOv8n seg'),
        pytest.param('--no-amp', 'yolo11', 'YOLO11n seg', marks=pytest.mark.slow),
        pytest.param('--no-amp', 'yolo26', 'YOLO26n det', marks=pytest.mark.slow),
        ('--no-amp', 'yolo_world', 'YOLO-World-s det'),
        pytest.param('--no-amp', 'yolov10', 'YOLOv10n det', marks=pytest.mark.slow),
        pytest.param('--no-amp', 'yolo11', 'YOLO11n pose', marks=pytest.mark.slow),
        ('--amp', 'yolo11', 'YOLO11n obb'),
        ('--no-amp', 'yolov8', 'YOLOv8n cls'),
    ],
)
def test_training_steps_are_timed(in_this_process, amp, family, name):
    import train_step

    served = in_this_process(train_step)
    model = ['--family', family, '--task', name.split()[-1]]
    step, memory = train_step.main([*ALONE, '--steps', '1', '--threads', '1', amp, *model])
    assert name in step.what
    assert len(served) == 3 and step.own == [served[2][0]] and memory.own == [served[2][2]]
    assert step.work > 5e7 and says_what_it_computes_in(step, amp == '--amp')


@pytest.mark.parametrize(
    'options',
    [
        ['--reduced-decoding', '--picture-size', '256', '192'],
        ['--amp'],
        pytest.param(['--family', 'yolo26', '--task', 'det'], marks=pytest.mark.slow),
        ['--family', 'yolo_world'],
        pytest.param(['--family', 'yolov10'], marks=pytest.mark.slow),
        pytest.param(['--family', 'yolo26', '--task', 'obb'], marks=pytest.mark.slow),
        ['--task', 'cls'],
    ],
    ids=['float32', 'bf16', 'yolo26', 'yolo_world', 'yolov10', 'rotated', 'classes'],
)
def test_predictions_are_timed(in_this_process, options):
    import prediction

    served = in_this_process(prediction)
    arguments = ['--images', '2', '--img-size', '64', '--batch-size', '2', '--threads', '1', '--rounds', '2']
    (found,) = prediction.main([*arguments, *options])
    assert found.own == [served[1][0], served[2][0]]
    assert found.work > 1e7 and says_what_it_computes_in(found, '--amp' in options)


def test_operations_are_those_of_pictures_as_a_network_gets_them(tmp_path):
    import cv2
    from sides import image_operations

    for name, shape in (('square', (64, 64, 3)), ('wide', (30, 60, 3))):  # 128 x 128 and 64 x 128 in the network
        cv2.imwrite(str(tmp_path / f'{name}.png'), np.zeros(shape, np.uint8))
    of_square, of_both = (
        image_operations('yolov8/det_n_coco8', 'n', pictures, 128)
        for pictures in ([], [tmp_path / 'square.png', tmp_path / 'wide.png'])
    )
    assert of_square == pytest.approx(8.7e9 / 25, rel=0.01)  # published: 8.7 GFLOP at 640 x 640
    assert of_both == pytest.approx(0.75 * of_square, rel=1e-6)


def test_validations_are_timed(in_this_process):
    import validation

    served = in_this_process(validation)
    arguments = ['--images', '3', '--img-size', '64', '--batch-size', '2', '--workers', '0', '--threads', '1']
    of_image, of_call = validation.main([*arguments, '--rounds', '2'])
    assert of_call.own == [served[1][1], served[2][1]]
    assert of_image.own == [(own[1] - own[0]) / 2 for own in served[1:]]
    assert of_call.work > 1e7 and of_image.work in (of_call.work / 3, 0)
    assert all(0 <= value <= 1 for own in served for value in own[2:]) and len(served[0]) == 4


def test_masks_are_timed():
    import masks

    (found,) = masks.main(['--objects', '3', '--img-size', '64', '64', '--rounds', '2', '--threads', '1'])
    assert len(found.own) == 2 and min(found.own) > 0


@pytest.mark.parametrize('amp', ['--amp', '--no-amp'])
def test_whole_trainings_are_timed(monkeypatch, tmp_path, amp):
    """The times are made up, and the commands are ones that the command and the config take."""
    import train_job

    from detkit.cli.main import find_command
    from detkit.config import load_config

    commands = []

    def timed(name: str, command: list[str], args: object, log: object) -> float:
        commands.append(find_command('train').parse_args(command[2:]))
        return {'max_epochs=1': 2.0, 'max_epochs=3': 8.0}[next(part for part in command if 'max_epochs' in part)]

    monkeypatch.setattr(train_job, 'timed', timed)
    monkeypatch.setattr('detkit.sample_data.coco8.render_coco8_seg', lambda folder, **_: folder.mkdir())
    sizes = '--images 2 --epochs 3 --rounds 1 --img-size 64 --batch-size 2 --workers 0'.split()
    first, whole, image = train_job.main([*sizes, amp])
    assert first.own == [2.0] and whole.own == [8.0] and image.own == [1.5]
    assert image.work > 1e7 and [first.work, whole.work] == [2 * image.work, 6 * image.work]
    cfgs = [load_config(args.config, args.cfg_options, need_classes=False) for args in commands]
    assert [(cfg.max_epochs, cfg.optim_wrapper.amp) for cfg in cfgs] == [(1, amp == '--amp'), (3, amp == '--amp')]
    args = SimpleNamespace(task='seg', size='n', as_shipped=False, threads=1, img_size=64, batch_size=2, workers=0)
    for device, theirs in (('cpu', 'cpu'), ('cuda', '0'), ('cuda:1', '1')):
        args.device, args.amp = device, True
        command = train_job.ultralytics_command(args, tmp_path, 3, tmp_path)
        assert command[-1] == 'yolov8n-seg.yaml' and command[-4:-2] == [theirs, 'True']
    (unpacking,) = [node for node in ast.walk(ast.parse(train_job.PEER)) if isinstance(node, ast.Tuple)]
    assert len(unpacking.elts) == len(command) - 3


def test_gpus_are_measured_by_the_trainings_and_predictions_of_the_other_scripts(monkeypatch, tmp_path):
    """The times are made up, as whole trainings take long; the commands are ones that detkit takes."""
    import gpu
    import prediction
    import train_job
    from comparison import read

    from detkit.cli.main import find_command
    from detkit.config import load_config

    commands, asked = [], []

    def timed(name: str, command: list[str], args: object, log: object) -> float:
        commands.append(find_command('train').parse_args(command[2:]))
        return float(next(part for part in command if 'max_epochs' in part)[-1])

    def answers(script: str, argv: list[str], rounds: int) -> dict[str, list[list[float]]]:
        asked.append((Path(script).name, argv))
        return {'detkit': [[0.5, 3]] * rounds}

    monkeypatch.setattr(train_job, 'timed', timed)
    monkeypatch.setattr(prediction, 'answers', answers)
    monkeypatch.setattr('detkit.sample_data.coco8.render_coco8_seg', lambda folder, **_: folder.mkdir(parents=True))
    path = tmp_path / 'gpu.json'
    sizes = '--images 8 --epochs 3 --img-size 64 --workers 0 --rounds 2 --train-batches 2 4 --predict-batches 1'.split()
    found = gpu.main([*sizes, '--device', 'cpu', '--json', str(path)])
    assert len(found) == 2 * (2 * 3 + 1) and [list(each.own) for each in read(path)] == [list(e.own) for e in found]
    assert [list(each.own) for each in found[:3]] == [[1.0], [3.0], [0.125]] and found[-1].own == [0.5, 0.5]
    cfg = load_config(commands[0].config, commands[0].cfg_options, need_classes=False)
    assert commands[0].device == 'cpu' and cfg.train_dataloader.render_on == 'device'
    assert asked[0][0] == 'prediction.py' and '--amp' in asked[0][1]


@pytest.mark.parametrize(
    ('family', 'job'),
    [
        ('rtdetr', 'predict'),
        ('dfine', 'train'),
        pytest.param('deimv2', 'train', marks=pytest.mark.slow),
        pytest.param('deimv2', 'predict', marks=pytest.mark.slow),
        ('yolox', 'train'),
        pytest.param('rfdetr', 'train', marks=pytest.mark.slow),
        pytest.param('rfdetr', 'predict', marks=pytest.mark.slow),
    ],
)
def test_real_time_transformers_are_timed(in_this_process, family, job):
    import realtime_step

    served = in_this_process(realtime_step)
    precision = ['--amp'] if family == 'dfine' else []
    if (family, job) == ('rfdetr', 'predict'):
        precision = ['--amp', '--runtime', 'openvino']
    kind = {0: 'float32', 1: 'bf16', 3: 'bf16, openvino'}[len(precision)]
    arguments = ['--family', family, '--job', job, *ALONE, '--rounds', '2', '--threads', '1', *precision]
    found = realtime_step.main(arguments)
    assert [each.unit for each in found] == ['s', 'MiB', 'MiB']
    assert [each.own for each in found] == [[own[column] for own in served[1:]] for column in range(3)]
    assert all(each.what.endswith(kind) for each in found)
    results = [own[3] for own in served]
    assert all(0 < result <= 300 for result in results) if job == 'predict' else results[2] != results[0] > 0


@pytest.mark.parametrize(('model', 'job'), [('mask_rcnn', 'predict'), ('fcos', 'train')])
def test_detectors_of_torchvision_are_timed(in_this_process, monkeypatch, model, job, tmp_path):
    import torchvision_step

    served = in_this_process(torchvision_step)
    monkeypatch.setattr(torchvision_step, 'PEER', '')
    weights = tmp_path / 'weights.pth'
    arguments = ['--model', model, '--job', job, *ALONE, '--rounds', '2', '--threads', '1']
    found = torchvision_step.main([*arguments, '--weights', str(weights)])
    assert [each.own for each in found] == [[own[column] for own in served[1:]] for column in range(3)]
    assert all(f'{model} r50' in each.what for each in found)
    args = SimpleNamespace(
        model=model, job=job, batch_size=1, img_size=64, amp=False, weights=weights, peer_keeps_memory=False
    )
    theirs, results = torchvision_step.peer_side(args)[1](), [own[3] for own in served]
    if job == 'predict':
        assert 0 < theirs <= 100 and 0 < max(results) <= 100
    else:
        assert abs(theirs - results[0]) < 1e-3 * theirs and results[2] != results[0]


@pytest.mark.parametrize('counts', [dict(detkit=0, torchvision=0), dict(detkit=200, torchvision=180)])
def test_predictions_of_other_objects_are_not_compared(counts):
    import torchvision_step

    torchvision_step.check_objects(dict(detkit=199, torchvision=200))
    with pytest.raises(SystemExit, match=f'detkit {counts["detkit"]}'):
        torchvision_step.check_objects(counts)


def test_steps_of_detr_are_measured(monkeypatch):
    import detr_step

    def run_side(side: str, argv: list[str]) -> dict[str, float]:
        with redirect_stdout(io.StringIO()) as output:
            detr_step.main([*argv, '--side', side])
        return json.loads(output.getvalue().splitlines()[-1])

    monkeypatch.setattr(detr_step, 'run_side', run_side)
    step, peak, added = detr_step.main(['--shapes', '32x32', '--steps', '1', '--threads', '1'])
    assert step.own[0] > 0 and peak.own[0] > added.own[0] >= 0 and step.peer == ''


def test_cost_curves_are_fitted(capsys):
    import cost_curves

    linear = cost_curves.Curve('a', 'box', 'ms', [1, 2, 4], [3.0, 5.0, 9.0])
    assert linear.slope == pytest.approx(2) and linear.r_squared == pytest.approx(1)
    quadratic = cost_curves.Curve('b', 'box', 'ms', [1, 10, 100], [1.0, 100.0, 10_000.0])
    assert quadratic.exponent == pytest.approx(2) and quadratic.r_squared < 0.995
    assert cost_curves.Curve('c', 'box', 'ms', [1, 2], [3.0, 3.0]).r_squared == 1
    chosen = [name for name in cost_curves.NAMES if name not in ('workers', 'memory')]
    found = cost_curves.main(['--quick', '--only', *chosen])
    assert [curve.name for curve in found] == chosen and all(min(curve.costs) > 0 for curve in found)
    assert len(capsys.readouterr().out.splitlines()) == len(chosen)
    workers, memory = cost_curves.main(['--quick', '--only', 'workers', 'memory', '--workers', '0', '1'])
    assert min(workers.costs) > 0 and list(memory.sizes) == [2, 3] and min(memory.costs) > 50


@pytest.mark.parametrize('work', ['training step, float32', 'prediction of a batch'])
def test_work_whose_freed_memory_is_kept_is_timed(monkeypatch, work):
    """One side in this process, where the script takes one for each."""
    import freed_memory

    monkeypatch.setattr(freed_memory, '_SCALES', (1.0,))
    monkeypatch.setattr(sys, 'stdin', io.StringIO('step\n' * 2))
    with redirect_stdout(io.StringIO()) as output:
        freed_memory.main(['--batch-size', '1', '--img-size', '64', '--threads', '1', '--side', work])
    lines = output.getvalue().splitlines()
    answers = [json.loads(line) for line in lines[lines.index('ready') + 1 :]]
    assert len(answers) == 2 and all(seconds > 0 and peak > 50 for seconds, peak in answers)


@pytest.mark.slow
def test_memory_that_is_kept_is_set_beside_memory_that_is_given_back(capsys):
    import freed_memory

    argv = ['--batch-size', '1', '--img-size', '64', '--threads', '1', '--steps', '1', '--works', freed_memory.WORKS[2]]
    step, memory = freed_memory.main(argv)
    assert len(step.own) == len(step.theirs) == 1 and 0.5 < memory.ratio < 2


@pytest.mark.parametrize(('native', 'formats'), [(True, ['float32', 'bfloat16']), (False, ['float32'])])
def test_the_peak_of_the_processor_is_measured(monkeypatch, native, formats):
    import run_all

    monkeypatch.setattr(run_all, 'cpu_has_bf16', lambda: native)
    peaks = run_all.measure_peak(quick=True)
    assert list(peaks) == formats and min(peaks.values()) > 1e7


def test_each_script_is_run_by_a_test_and_by_one_command_where_it_compares(repo):
    import run_all

    texts = ''.join(path.read_text() for path in (repo / 'tests').rglob('test_*.py'))
    scripts = [path for path in (repo / 'benchmarks').glob('*.py') if '\ndef main(' in path.read_text()]
    for path in scripts:
        names = (f'import {path.stem}\n', f"'{path.stem}'", f'{path.name}')
        assert any(name in texts for name in names), f'{path.name} has no test'
    comparing = {path.name for path in scripts if 'args.json' in path.read_text()} | {'anchor_loss.py'}
    assert {file for file, *_ in run_all.SCRIPTS.values()} == comparing - {'run_all.py'}


def test_sides_with_other_networks_are_refused():
    import realtime_step

    realtime_step.check_sizes({'detkit': 3_782_693, 'transformers': 3_963_809})
    with pytest.raises(SystemExit, match='the sides have other networks.*detkit 30,467,298, transformers 99,000,000'):
        realtime_step.check_sizes({'detkit': 30_467_298, 'transformers': 99_000_000})
