"""Checkpoints that another runtime runs: what is kept, when it is made again, and which runtime is chosen."""

import copy
import importlib
import json
import os
import pickle
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_models import write_images, write_shallow_checkpoint
from torch import nn

from detkit import Detector
from detkit.engine import amp
from detkit.export import runtimes
from detkit.export.detector import ExportedDetector
from detkit.inference import Predictor, init_detector
from detkit.utils.errors import ConfigError

pytest.importorskip('onnxruntime')

NOTEBOOK = {'__name__': 'a_notebook', 'nn': nn}


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    return write_shallow_checkpoint(tmp_path_factory.mktemp('model') / 'seg.pth')


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    return [str(path) for path in write_images(tmp_path_factory.mktemp('images'), 3)]


@pytest.fixture(scope='module')
def filled(checkpoint, tmp_path_factory):
    """A cache folder with the network for ONNX Runtime."""
    folder = tmp_path_factory.mktemp('filled')
    runtimes.run_by_runtime(init_detector(None, checkpoint, 'cpu'), 'onnx', folder / 'runtimes')
    return folder


@pytest.fixture
def cache(filled, tmp_path, monkeypatch):
    shutil.copytree(filled, tmp_path / 'cache')
    monkeypatch.setenv('DETKIT_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


@pytest.fixture(autouse=True)
def only_onnx(monkeypatch):
    """Other installed formats would only take time."""
    own = runtimes.suitable_formats
    monkeypatch.setattr(runtimes, 'suitable_formats', lambda model: [f for f in own(model) if f.name == 'onnx'])


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch):
    """Folders of networks that are kept for this process alone."""
    monkeypatch.setattr(runtimes, '_elsewhere', folders := {})
    yield folders
    for folder in folders.values():
        folder.cleanup()


@pytest.fixture
def exports(filled, monkeypatch):
    """The formats that are exported to, in turn; the file is the one of ``filled``, as an export takes seconds."""
    made = []
    (network,) = filled.rglob('network.onnx')

    def export(model, path, settings):
        made.append(settings.format)
        shutil.copy(network, path)

    monkeypatch.setattr(runtimes, 'export_detector', export)
    return made


@pytest.mark.thorough
def test_a_checkpoint_is_exported_once(checkpoint, images, cache, monkeypatch):
    def never(model, path, settings):
        raise AssertionError('it is exported again')

    monkeypatch.setattr(runtimes, 'export_detector', never)
    options = dict(score_thr=0.01, batch_size=2, max_per_img=20)
    expected = Detector(checkpoint)(images, **options)
    for _ in range(2):
        model = Detector(checkpoint, runtime='onnx')
        assert isinstance(model.model, ExportedDetector)
        for found, own in zip(model(images, **options), expected, strict=True):
            assert len(found.scores) == 20 and len(found.masks) == 20
            np.testing.assert_allclose(found.scores, own.scores, atol=1e-4)  # boxes may change places, with equal ones
    assert [path.suffix for path in cache.rglob('network.*')] == ['.onnx']
    assert not list(cache.rglob('.detkit-draft*'))


@pytest.mark.parametrize('has_bf16', [False, True])
def test_amp_that_is_float32_is_any_runtime_s(has_bf16, checkpoint, images, cache, monkeypatch):
    monkeypatch.setattr(amp, 'cpu_has_bf16', lambda: has_bf16)
    detector = Detector(checkpoint, runtime='onnx')
    if has_bf16:
        with pytest.raises(ConfigError, match='amp has no effect on an exported file'):
            detector(images, amp=True)
    else:
        assert [len(result) for result in detector(images, amp=True, score_thr=0.01, max_per_img=5)] == [5, 5, 5]


def test_other_weights_are_another_network(checkpoint, cache, exports):
    model = init_detector(None, checkpoint, 'cpu')
    with torch.no_grad():
        next(model.parameters()).mul_(1.5)
    runtimes.run_by_runtime(model, 'onnx')
    assert exports == ['onnx'] and len(list(cache.rglob('network.onnx'))) == 2


def test_other_code_is_another_network(checkpoint, cache, exports, tmp_path, monkeypatch):
    package = tmp_path / 'own_parts_of_runtimes'
    package.mkdir()
    (package / '__init__.py').write_text(
        'from torch import nn\n\nfrom . import sums\n\n\nclass Sum(nn.Module):\n    pass\n'
    )
    (package / 'sums.py').write_text('ONE = 1\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    model = init_detector(None, checkpoint, 'cpu')
    model.own = importlib.import_module(package.name).Sum()
    runtimes.run_by_runtime(model, 'onnx')
    runtimes.run_by_runtime(model, 'onnx')
    assert exports == ['onnx']
    (package / 'sums.py').write_text('ONE = 2\n')
    runtimes.run_by_runtime(model, 'onnx')
    assert exports == ['onnx'] * 2

    def of_no_file(code: str) -> nn.Module:  # as in a notebook
        exec(f'class Own(nn.Module):\n    def forward(self, x):\n        return {code}\n', names := {**NOTEBOOK})
        return names['Own']()

    digests = []
    for code in ('x + 1', 'x + 1', 'x + 2'):
        model.own = of_no_file(code)
        digests.append(runtimes._digest(model))
    assert digests[0] == digests[1] != digests[2]

    monkeypatch.setattr(runtimes, '__file__', str(package / 'export' / 'runtimes.py'))
    (package / 'models').mkdir()
    for code in ('x = 1', 'x = 2'):
        (package / 'models' / 'head.py').write_text(code)
        digests.append(runtimes._digest(model))
    assert len(set(digests)) == 4


@pytest.mark.default_cases(1)
@pytest.mark.parametrize(
    'damage', ['truncated', 'another', 'overwritten', 'missing', 'a folder', 'a file for a folder']
)
def test_what_is_damaged_is_made_again(damage, checkpoint, images, cache, exports):
    model = init_detector(None, checkpoint, 'cpu')
    (file,) = cache.rglob('network.onnx')
    if damage == 'truncated':
        file.write_bytes(file.read_bytes()[:500])
    elif damage == 'another':
        file.with_name('weights').write_text('of other weights')
    elif damage == 'overwritten':  # ONNX Runtime opens it all the same
        content = bytearray(file.read_bytes())
        middle = len(content) // 2
        content[middle : middle + 64] = bytes(value ^ 85 for value in content[middle : middle + 64])
        file.write_bytes(content)
    elif damage == 'a file for a folder':
        shutil.rmtree(file.parent)
        file.parent.write_text('no folder')
    else:
        file.unlink()
        if damage == 'a folder':
            file.mkdir()
    lines = []
    again = runtimes.run_by_runtime(model, 'onnx', log=lines.append)
    assert exports == ['onnx']
    assert len(lines) == 1 and lines[0].startswith('runtime onnx: ') and lines[0].endswith('; it is exported again')
    assert len(Predictor(model=again, max_per_img=4).predict(images[0])[0].pred_instances) == 4


def test_another_process_may_be_faster(checkpoint, images, filled, exports, tmp_path, monkeypatch):
    own = runtimes.export_detector

    def export_beside_another(model, path, settings):
        own(model, path, settings)
        shutil.copytree(filled / 'runtimes', tmp_path / 'runtimes', dirs_exist_ok=True)

    monkeypatch.setattr(runtimes, 'export_detector', export_beside_another)
    model = init_detector(None, checkpoint, 'cpu')
    found = runtimes.run_by_runtime(model, 'onnx', tmp_path / 'runtimes')
    for one in (found, copy.deepcopy(found)):  # a copy opens the file again
        assert len(Predictor(model=one, max_per_img=4).predict(images[0])[0].pred_instances) == 4
    assert not list(tmp_path.rglob('.detkit-draft*')) and len(list(tmp_path.rglob('network.onnx'))) == 1


@pytest.mark.skipif(os.name != 'posix', reason='rights of users and groups')
def test_others_who_share_the_folder_can_read_it(checkpoint, tmp_path, exports):
    before = os.umask(0o022)
    try:
        runtimes.run_by_runtime(init_detector(None, checkpoint, 'cpu'), 'onnx', tmp_path / 'shared')
    finally:
        os.umask(before)
    modes = {path: path.stat().st_mode & 0o777 for path in (tmp_path / 'shared').rglob('*')}
    assert len(modes) >= 4 and {mode for path, mode in modes.items() if path.is_dir()} == {0o755}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o644}


def test_a_folder_that_cannot_be_written_is_no_error(checkpoint, tmp_path, images, exports):
    (tmp_path / 'file').write_text('no folder')
    model = init_detector(None, checkpoint, 'cpu')
    lines = []
    for runtime in ('onnx', 'auto'):
        found = runtimes.run_by_runtime(model, runtime, tmp_path / 'file' / 'cache', lines.append)
        for one in (found, copy.deepcopy(found)):  # a copy opens the file again
            assert len(Predictor(model=one, max_per_img=4).predict(images[0])[0].pred_instances) == 4
    assert exports == ['onnx']  # once for this process
    assert len(lines) == 2 and lines[0].startswith('runtime onnx: cannot be kept in ') and 'Not a directory' in lines[0]
    assert lines[1].startswith('runtime ') and 'torch' in lines[1]


@pytest.mark.parametrize('runtime', ['onnx', 'auto'])
def test_what_is_damaged_and_cannot_be_removed_is_no_error(runtime, checkpoint, images, cache, exports, monkeypatch):
    monkeypatch.setattr(runtimes, '_remove', lambda place: None)
    (file,) = cache.rglob('network.onnx')
    file.write_bytes(b'damaged')
    found = runtimes.run_by_runtime(init_detector(None, checkpoint, 'cpu'), runtime)
    assert len(Predictor(model=found, max_per_img=4).predict(images[0])[0].pred_instances) == 4
    assert file.read_bytes() == b'damaged' and exports.count('onnx') == 2


@pytest.mark.thorough
@pytest.mark.default_cases(1)
@pytest.mark.parametrize('fastest', ['torch', 'onnx'])
def test_the_fastest_is_measured_once_and_remembered(fastest, checkpoint, cache, exports, monkeypatch):
    measured = []

    def measure(models):
        measured.append(sorted(models))
        return {name: 1.0 if name == fastest else 2.0 for name in models}

    monkeypatch.setattr(runtimes, '_measure', measure)
    model, lines = init_detector(None, checkpoint, 'cpu'), []
    found = [runtimes.run_by_runtime(model, 'auto', log=lines.append) for _ in range(2)]
    assert measured == [['onnx', 'torch']]
    assert exports == []
    assert lines[0] == lines[1] and lines[0].startswith(f'runtime {fastest}, as an image takes {fastest} 1.0 ms')
    assert all((one is model) == (fastest == 'torch') for one in found)
    (record,) = cache.rglob('choice-*.json')
    times = {'torch': 2.0, 'torchscript': 1.0, 'tensorrt': 1.0}
    for text in (
        '{',
        '{"runtime": "nonsense", "milliseconds": {}, "left_out": {}}',
        json.dumps({'runtime': 3}),
        json.dumps(dict(runtime='onnx', milliseconds={}, left_out={})),
        json.dumps(dict(runtime='onnx', milliseconds={'onnx': 1.0, 'torch': float('nan')}, left_out={})),
        json.dumps(dict(runtime='torchscript', milliseconds=times, left_out={})),
        json.dumps(dict(runtime='tensorrt', milliseconds=times, left_out={})),
        json.dumps(dict(runtime='torch', milliseconds={'torch': 1.0}, left_out={})),
        json.dumps(dict(runtime='torch', milliseconds={}, left_out={})),
        json.dumps(dict(runtime='torch', milliseconds={}, left_out={'openvino': 'not installed'})),
        json.dumps(dict(runtime='torch', milliseconds={'torch': 2.0, 'onnx': 1.0}, left_out={})),
        json.dumps(dict(runtime='onnx', milliseconds={'torch': 2.0, 'onnx': -1.0}, left_out={})),
    ):
        record.write_text(text)
        measured.clear()
        lines.clear()
        runtimes.run_by_runtime(model, 'auto', log=lines.append)
        assert len(lines) == 2 and f'{record} is damaged, or of other runtimes' in lines[0]
        assert measured == [['onnx', 'torch']], 'a record that cannot be followed counts as none'
        assert json.loads(record.read_text())['runtime'] == fastest


def test_a_processor_of_the_same_name_with_other_instructions_is_another(monkeypatch):
    here = runtimes._machine()
    monkeypatch.setattr(runtimes, 'processor_features', lambda: frozenset({'avx2'}))
    avx2 = runtimes._machine()
    monkeypatch.setattr(runtimes, 'processor_features', lambda: frozenset({'avx2', 'avx512f'}))
    assert len({here, avx2, runtimes._machine()}) == 3


def test_a_record_without_an_installed_runtime_is_measured_again(checkpoint, cache, exports, monkeypatch):
    installed, measured = [], []
    monkeypatch.setattr(runtimes, 'suitable_formats', lambda model: [SimpleNamespace(name=name) for name in installed])
    monkeypatch.setattr(runtimes._Kept, 'open', lambda self, fmt: fmt.name)
    monkeypatch.setattr(
        runtimes, '_measure', lambda models: measured.append(sorted(models)) or dict.fromkeys(models, 2.0) | times
    )
    model, times = init_detector(None, checkpoint, 'cpu'), {}
    for installed[:], taken, expected in (
        (['onnx'], {}, [['onnx', 'torch']]),
        (['onnx', 'new'], {'new': 1.0}, [['new', 'onnx', 'torch']]),
        (['onnx', 'new'], {}, []),
        (['onnx'], {}, [['onnx', 'torch']]),
        ([], {}, []),
    ):
        measured.clear()
        times = taken
        found = runtimes.run_by_runtime(model, 'auto', log=lambda line: None)
        assert measured == expected and found == ('new' if 'new' in installed else model)
    (record,) = cache.rglob('choice-*.json')
    assert json.loads(record.read_text())['milliseconds'] == {}


def test_lines_are_printable_and_say_where_nothing_was_measured(checkpoint, cache, monkeypatch):
    assert runtimes._Choice('onnx', {'onnx': 1.0}, {'x': 'a\nb\x1b[31m'}).line().endswith('x left out: a b\\x1b[31m')
    monkeypatch.setattr(runtimes, 'suitable_formats', lambda model: [])
    model, lines = init_detector(None, checkpoint, 'cpu'), []
    assert runtimes.run_by_runtime(model, 'auto', log=lines.append) is model
    assert lines == ['runtime torch, as no other runtime that is installed can run this network']


def test_a_disk_that_fills_costs_time_alone(checkpoint, filled, tmp_path, exports, elsewhere, monkeypatch):
    export, room = runtimes.export_detector, ['elsewhere']

    def fill(model, path, settings):
        if not room or tmp_path / 'cache' in path.parents:
            raise OSError(28, 'No space left on device')
        export(model, path, settings)

    monkeypatch.setattr(runtimes, 'export_detector', fill)
    model, lines = init_detector(None, checkpoint, 'cpu'), []
    assert isinstance(runtimes.run_by_runtime(model, 'onnx', tmp_path / 'cache'), ExportedDetector)
    room.clear()
    elsewhere.popitem()[1].cleanup()
    assert runtimes.run_by_runtime(model, 'auto', tmp_path / 'cache', lines.append) is model
    assert 'No space left' in lines[0] and not list(tmp_path.rglob('choice-*.json'))
    with pytest.raises(ConfigError, match='can be kept neither in .*No space left'):
        runtimes.run_by_runtime(model, 'onnx', tmp_path / 'cache')


def test_a_device_without_values_is_refused(checkpoint):
    with pytest.raises(ConfigError, match="device 'meta' cannot be used here"):
        init_detector(None, checkpoint, 'meta')


def test_a_runtime_is_measured_beside_pytorch(checkpoint):
    model = init_detector(None, checkpoint, 'cpu')
    taken = runtimes._measure({'torch': model, 'same': model})
    assert taken.keys() == {'torch', 'same'} and all(value > 0 for value in taken.values())


def test_one_that_gives_other_results_is_left_out(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv('DETKIT_CACHE', str(tmp_path))

    def failing(model, path, settings):
        raise runtimes.ExportError(f'the exported network differs from PyTorch in {settings.format}')

    monkeypatch.setattr(runtimes, 'export_detector', failing)
    model, lines = init_detector(None, checkpoint, 'cpu'), []
    assert runtimes.run_by_runtime(model, 'auto', log=lines.append) is model
    assert 'onnx left out: the exported network differs' in lines[0]
    with pytest.raises(runtimes.ExportError, match='differs'):
        runtimes.run_by_runtime(model, 'onnx')


def test_what_cannot_be_is_refused(checkpoint, cache):
    model = init_detector(None, checkpoint, 'cpu')
    with pytest.raises(ConfigError, match=r"there is no format 'onx'.*Did you mean 'onnx'"):
        runtimes.run_by_runtime(model, 'onx')
    with pytest.raises(ConfigError, match='may run code'):
        runtimes.run_by_runtime(model, 'torchscript')


def test_a_predictor_and_a_pickled_detector_take_a_runtime(checkpoint, images, cache):
    predictor = Predictor(None, checkpoint, runtime='onnx', max_per_img=3)
    assert len(predictor.predict(images[0])[0].pred_instances) == 3
    assert Predictor(None, checkpoint, runtime='torch', device='cpu').model.is_exported is False
    copied = pickle.loads(pickle.dumps(Detector(checkpoint, runtime='onnx')))
    assert isinstance(copied.model, ExportedDetector) and len(copied(images)) == 3
