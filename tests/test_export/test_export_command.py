"""``detkit export`` and ``Detector.export``, and exported files where a checkpoint is taken."""

import copy
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from every_task import write_task
from small_models import write_images, write_shallow_checkpoint

from detkit.api import Detector
from detkit.cli.command import run_command
from detkit.cli.main import find_command
from detkit.export import ExportSettings
from detkit.export.format import all_formats
from detkit.utils.errors import CheckpointError, ConfigError

pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with a checkpoint, pictures, and the checkpoint as ONNX, of 64 pixels and of any size."""
    folder = tmp_path_factory.mktemp('export')
    write_task(folder / 'seg.pth', 'yolov8 seg', 64, shallow=True)
    write_images(folder / 'images', 3)
    detector = Detector(folder / 'seg.pth', device='cpu')
    detector.export(img_size=64, images=folder / 'images')
    detector.export('onnx', path=folder / 'any.onnx', img_size=64, dynamic=True, images=[folder / 'images'])
    return folder


def write_data(root: Path) -> Path:
    """Two pictures with two outlined objects each, in YOLO's format."""
    outlines = '0 0.1 0.1 0.5 0.1 0.5 0.6 0.1 0.6\n1 0.4 0.3 0.9 0.4 0.8 0.9 0.4 0.8\n'
    for picture in write_images(root / 'images' / 'val', 2):
        label = root / 'labels' / 'val' / f'{picture.stem}.txt'
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(outlines)
    (root / 'data.yaml').write_text('names: [person, bird, cat, dog]\ntrain: images/val\nval: images/val\n')
    return root


def run(name, *words):
    return run_command(lambda: find_command(name).main([str(word) for word in words]))


def test_the_command_writes_a_checked_file_beside_the_checkpoint(tmp_path, capsys):
    path = write_shallow_checkpoint(tmp_path / 'seg.pth')
    images = write_images(tmp_path / 'images', 2)
    words = ('--img-size', 64, '--dynamic', 'batch', '--batch', 3, '--images', *images)
    assert run('export', path, *words) == 0
    out = capsys.readouterr().out
    assert 'checked on 2 images in batches of 1 x 64 x 64, 3 x 64 x 64' in out
    assert 'largest difference: boxes' in out and (tmp_path / 'seg.onnx').is_file()
    description = Detector(tmp_path / 'seg.onnx').model.description
    assert description.batch_size is None and description.size == (64, 64) and len(description.checkpoint) == 64


@pytest.mark.parametrize(
    ('words', 'dynamic'),
    [
        ([], None),
        (['--dynamic'], ('batch', 'size')),
        (['--dynamic', 'size'], ('size',)),
        (['--dynamic', 'none'], ()),
        (['--dynamic', 'size', 'batch'], ('size', 'batch')),
    ],
)
def test_what_is_dynamic_is_said_by_words(words, dynamic, tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr(Detector, 'export', lambda self, **settings: found.append(settings))
    path = write_shallow_checkpoint(tmp_path / 'seg.pth')
    assert run('export', path, *words) == 0
    given = {name: value for name, value in found[0].items() if name not in ('path', 'images', 'data')}
    assert ExportSettings(**given).varying == dynamic


def test_the_word_none_stands_alone(capsys):
    with pytest.raises(SystemExit):
        find_command('export').parse_args(['a.pth', '--dynamic', 'none', 'size'])
    assert "'none' stands alone" in capsys.readouterr().err


def test_the_help_names_every_format():
    (argument,) = [action for action in find_command('export').parser()._actions if action.dest == 'format']
    named = set(argument.help.replace(' or ', ', ').partition(': ')[2].partition(';')[0].split(', '))
    assert named == {fmt.name for fmt in all_formats()}


@pytest.mark.thorough
def test_a_detector_of_a_file_predicts_as_that_of_the_checkpoint(folder):
    native, exported = Detector(folder / 'seg.pth', device='cpu'), Detector(folder / 'any.onnx')
    assert exported.device == torch.device('cpu') and exported.classes == native.classes and exported.task == 'seg'
    for ours, theirs in zip(
        native(folder / 'images', img_size=64, batch_size=2, max_per_img=20),
        exported(folder / 'images', img_size=64, batch_size=2, max_per_img=20),
        strict=True,
    ):
        assert len(ours) == len(theirs) == 20
        assert np.allclose(ours.scores, theirs.scores, atol=1e-4) and np.allclose(ours.bboxes, theirs.bboxes, atol=0.05)
        near = np.abs(np.subtract.outer(ours.scores, ours.scores)) < 1e-4
        alone = near.sum(1) == 1  # of equal scores, either may come first
        assert alone.any() and (ours.labels == theirs.labels)[alone].all()


@pytest.mark.thorough
def test_a_test_takes_a_file(folder, tmp_path, monkeypatch, capsys):
    root = write_data(tmp_path / 'data')
    monkeypatch.chdir(tmp_path)
    metrics = [
        Detector(folder / name, device='cpu').val(root / 'data.yaml', img_size=64, num_workers=0)
        for name in ('seg.pth', 'any.onnx')
    ]
    assert metrics[0].keys() == metrics[1].keys()
    for name, value in metrics[0].items():
        assert metrics[1][name] == pytest.approx(value, abs=1e-6), name
    options = ['--cfg-options', f'data_yaml={root / "data.yaml"}', 'img_size=64', 'num_workers=0']
    assert run('test', 'yolov8/seg_custom', folder / 'seg.onnx', '--device', 'cpu', *options) == 0
    assert 'mAP50' in capsys.readouterr().out
    assert run('test', 'yolov8/seg_custom', folder / 'seg.onnx', '--amp', *options) == 2
    assert 'amp has no effect on an exported file' in capsys.readouterr().err
    assert run('test', 'yolov8/seg_custom', folder / 'seg.pth', '--runtime', 'onnx', *options) == 2
    assert "runtime 'onnx' is that of an exported file" in capsys.readouterr().err
    assert run('test', 'yolov8/det_custom', folder / 'seg.onnx', *options) == 2
    assert "is a model of the task 'seg', but the config of the test is for 'det'" in capsys.readouterr().err
    assert run('test', '-', folder / 'seg.onnx') == 2
    assert 'a test needs a config' in capsys.readouterr().err
    options[2] = 'img_size=96'
    assert run('test', 'yolov8/seg_custom', folder / 'seg.onnx', *options) == 2
    assert 'but the exported network takes 64 x 64' in capsys.readouterr().err


def test_a_prediction_takes_a_file(folder, tmp_path):
    assert run('predict', '-', folder / 'seg.onnx', folder / 'images', '--out-dir', tmp_path / 'out') == 0
    entries = json.loads((tmp_path / 'out' / 'predictions.json').read_text())
    assert len(entries) > 3 and {entry['category_id'] for entry in entries} <= {0, 1, 2, 3}


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda d: d.train('coco8-seg', epochs=1), 'is an exported file, which predicts only: train the checkpoint'),
        (lambda d: d.train(resume=True), 'is no checkpoint in the folder of a run'),
        (lambda d: d.val(), 'does not say on which data'),
        (lambda d: d.export(), 'of an exported file, export the checkpoint that it was made from'),
        (lambda d: d('images', img_size=96), 'img_size is 96, but the exported network takes 64 x 64 only'),
        (lambda d: d('images', amp=True), 'amp has no effect on an exported file'),
        (lambda d: d('images', tta=True), 'cannot be scaled by tta'),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else '',
)
def test_what_a_file_cannot_do_is_said(call, message, folder, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(ConfigError, match=message):
        call(Detector('seg.onnx'))


def test_a_runtime_belongs_to_an_exported_file(folder):
    with pytest.raises(ConfigError, match="there is no format 'onx'.*'onnx'"):
        Detector(folder / 'seg.pth', runtime='onx')
    with pytest.raises(ConfigError, match='is run by onnx, not by openvino'):
        Detector(folder / 'seg.onnx', runtime='openvino')
    with pytest.raises(CheckpointError, match='lost.onnx does not exist'):
        Detector(folder / 'lost.onnx')


@pytest.mark.parametrize('name', ['torchscript', pytest.param('torch_export', marks=pytest.mark.slow)])
def test_a_file_that_may_run_code_is_opened_where_its_runtime_is_named(name, folder, tmp_path, capsys):
    path = Detector(folder / 'seg.pth', device='cpu').export(name, path=None, img_size=64, images=folder / 'images')
    with pytest.raises(CheckpointError, match=f'may run code .* name its runtime, {name}'):
        Detector(path)
    capsys.readouterr()
    assert run('predict', '-', path, folder / 'images', '--out-dir', tmp_path / 'refused') == 2
    assert 'only files that you trust may be opened' in capsys.readouterr().err
    assert run('predict', '-', path, folder / 'images', '--out-dir', tmp_path / 'out', '--runtime', name) == 0
    assert len(Detector(path, runtime=name)(folder / 'images')) == 3
    path.unlink()


@pytest.mark.parametrize('word', ['imgsz', 'batch', 'conf'])
def test_words_of_other_toolboxes_are_answered(word, folder):
    right = {'imgsz': 'img_size', 'batch': 'batch_size', 'conf': 'score_thr'}[word]
    with pytest.raises(TypeError, match=f'write {right}='):
        Detector(folder / 'seg.pth', device='cpu').export(**{word: 64})


def test_a_detector_of_a_file_is_copied_and_sent_to_other_processes(folder):
    detector = Detector(folder / 'seg.onnx')
    (expected,) = detector(folder / 'images' / '0.png', max_per_img=5)
    for other in (copy.deepcopy(detector), pickle.loads(pickle.dumps(detector))):
        (found,) = other(folder / 'images' / '0.png', max_per_img=5)
        assert np.array_equal(found.bboxes, expected.bboxes)


def test_calls_from_several_threads_do_not_disturb_each_other(folder):
    detector = Detector(folder / 'seg.onnx')
    names = [folder / 'images' / f'{number}.png' for number in range(3)]
    expected = [detector(name)[0].bboxes for name in names]
    with ThreadPoolExecutor(3) as pool:
        for name, found in zip(names * 4, pool.map(lambda name: detector(name)[0].bboxes, names * 4), strict=True):
            assert np.array_equal(found, expected[names.index(name)])
