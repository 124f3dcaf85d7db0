"""OpenVINO in mixed precision: its layers compute in bf16, the last ones and all that is no layer in float32."""

import copy
import pickle
import shutil
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_models import write_checkpoint, write_images

from detkit import Detector
from detkit.engine.amp import cpu_has_bf16
from detkit.export import runtimes
from detkit.inference import Predictor, init_detector
from detkit.inference.model import run_by
from detkit.utils.errors import ConfigError

pytest.importorskip('openvino')
pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('openvino')
    write_checkpoint(folder / 'seg.pth')
    pictures = [str(path) for path in write_images(folder / 'images', 2)]
    detector = Detector(folder / 'seg.pth', device='cpu')
    detector.export('openvino', path=folder / 'seg.xml', dynamic=True, img_size=64, images=pictures)
    with torch.autocast('cpu', torch.bfloat16):  # which a file has nothing of
        detector.export('onnx', path=folder / 'seg.onnx', dynamic=True, img_size=64, images=pictures)
    return folder


@pytest.fixture
def cache(folder, monkeypatch, tmp_path):
    """An empty cache; exports are the files of ``folder``, as one takes seconds."""
    monkeypatch.setenv('DETKIT_CACHE', str(tmp_path / 'cache'))

    def export(model, path, settings):
        shutil.copy(folder / f'seg{path.suffix}', path)
        if path.suffix == '.xml':
            shutil.copy(folder / 'seg.bin', path.with_suffix('.bin'))

    monkeypatch.setattr(runtimes, 'export_detector', export)


@pytest.fixture
def auto_of_openvino(monkeypatch, cache):
    """``'auto'`` with OpenVINO and ONNX Runtime alone, which says what it measures."""
    measured = []

    def measure(models):
        measured.append((sorted(models), torch.is_autocast_enabled('cpu')))
        return {name: 1.0 if name == 'openvino' else 9.0 for name in models}

    monkeypatch.setattr(runtimes, '_measure', measure)
    own = runtimes.suitable_formats
    monkeypatch.setattr(runtimes, 'suitable_formats', lambda m: [f for f in own(m) if f.name in ('onnx', 'openvino')])
    return measured


def results(predictor, folder):
    return predictor.predict(str(folder / 'images'))


def precisions(session) -> dict[str, str]:
    """Return the precision that each layer of a compiled network computes in, by the names of what it was made from."""
    found = {}
    for node in session._network().get_runtime_model().get_ordered_ops():
        info = node.get_rt_info()
        kind, names = (info[key].astype(str) for key in ('layerType', 'originalLayersNames'))
        if kind in ('Convolution', 'FullyConnected', 'Eltwise', 'MVN', 'Subgraph'):
            found[f'{kind} {names}'] = info['runtimePrecision'].astype(str)
    return found


@pytest.mark.skipif(not cpu_has_bf16(), reason='OpenVINO computes in float32 on this processor')
@pytest.mark.parametrize('name', ['seg.xml', 'half.xml'])
def test_layers_compute_in_bf16_and_the_last_ones_in_float32(name, folder):
    if name == 'half.xml':
        detector = Detector(folder / 'seg.pth', device='cpu')
        detector.export('openvino', path=folder / name, half=True, dynamic=True, img_size=64, images=folder / 'images')
    model = init_detector(None, folder / name)
    outside = precisions(model.session)
    with torch.autocast('cpu', torch.bfloat16):
        inside = precisions(model.session)
    assert 'bf16' not in outside.values() and 'bf16' in inside.values()
    convolutions = {key: value for key, value in inside.items() if key.startswith('Convolution')}
    floats = [key for key, value in convolutions.items() if value != 'bf16']  # f16 where weights are stored so
    assert len(convolutions) - len(floats) > 40
    # the last of each level: boxes, classes, coefficients of masks; and the bins of distances
    assert 3 * 3 <= len(floats) <= 3 * 3 + 2, floats
    assert 'bf16' not in {value for key, value in inside.items() if not key.startswith('Convolution')}


@pytest.mark.thorough
def test_boxes_are_those_of_mixed_precision(folder):
    options = dict(img_size=64, score_thr=0.01, max_per_img=20)
    plain = results(Predictor(None, folder / 'seg.xml', **options), folder)
    amp = results(Predictor(None, folder / 'seg.xml', amp='bf16', **options), folder)
    pytorch = results(Predictor(None, folder / 'seg.pth', device='cpu', amp='bf16', **options), folder)
    for exact, found, theirs in zip(plain, amp, pytorch, strict=True):
        scores = [each.pred_instances.scores.numpy() for each in (exact, found, theirs)]
        assert len({len(each) for each in scores}) == 1
        bound = 3 * max(np.abs(scores[0] - scores[2]).max(), 1e-3)  # the error of PyTorch's mixed precision
        assert np.abs(scores[0] - scores[1]).max() <= bound
        if cpu_has_bf16():
            assert np.abs(scores[0] - scores[1]).max() > 0
    again = results(Predictor(None, folder / 'seg.xml', **options), folder)
    assert all(torch.equal(a.pred_instances.bboxes, b.pred_instances.bboxes) for a, b in zip(plain, again, strict=True))


def test_the_network_is_compiled_for_the_precision_of_its_predictions_alone(folder):
    predictor = Predictor(None, folder / 'seg.xml', img_size=64, amp='bf16')
    detector = Detector(folder / 'seg.xml')
    for session in (predictor.model.session, copy.deepcopy(detector).model.session):
        assert not session._compiled
    results(predictor, folder)
    detector.predict(str(folder / 'images'), img_size=64, amp='bf16')
    assert [*predictor.model.session._compiled] == [*detector.model.session._compiled] == ['bf16']


def test_a_session_serves_both_precisions_from_many_threads(folder):
    model = copy.deepcopy(init_detector(None, folder / 'seg.xml'))
    model = pickle.loads(pickle.dumps(model))
    images = torch.randint(256, (1, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = {False: model.decode(images)['scores']}
    with torch.autocast('cpu', torch.bfloat16):
        expected[True] = model.decode(images)['scores']
    wrong = []

    def work(amp):
        for _ in range(4):
            with torch.autocast('cpu', torch.bfloat16, enabled=amp):
                found = model.decode(images)['scores']
            if not torch.equal(found, expected[amp]):
                wrong.append(amp)

    threads = [threading.Thread(target=work, args=[i % 2 == 0]) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_auto_finds_the_fastest_of_the_precision(folder, auto_of_openvino):
    plain = Predictor(None, folder / 'seg.pth', runtime='auto')
    assert plain.model.is_exported and auto_of_openvino == [(['onnx', 'openvino', 'torch'], False)]
    Predictor(None, folder / 'seg.pth', runtime='auto', amp='bf16')
    assert auto_of_openvino[1:] == [(['openvino', 'torch'], True)]
    Predictor(None, folder / 'seg.pth', runtime='auto', amp='bf16')
    Predictor(None, folder / 'seg.pth', runtime='auto')
    assert len(auto_of_openvino) == 2  # each choice is kept


@pytest.mark.thorough
def test_a_detector_finds_another_for_amp_where_the_fastest_has_none(folder, auto_of_openvino, monkeypatch):
    monkeypatch.setattr(runtimes, '_best', lambda taken: 'onnx' if 'onnx' in taken else 'openvino')
    detector = Detector(folder / 'seg.pth', runtime='auto')
    assert detector.model_for(False) is detector.model and detector.model.description.format == 'onnx'
    for _ in range(2):
        assert len(detector(str(folder / 'images'), img_size=64, amp='bf16')) == 2
    assert detector.model_for('bf16').description.format == 'openvino'
    assert auto_of_openvino == [(['onnx', 'openvino', 'torch'], False), (['openvino', 'torch'], True)]
    copied = pickle.loads(pickle.dumps(detector))
    assert copied.model_for('bf16').description.format == 'openvino'
    with pytest.raises(ConfigError, match='amp has no effect'):
        Detector(folder / 'seg.onnx', runtime='auto')(str(folder / 'images'), amp='bf16')


def test_auto_is_pytorch_on_other_devices_in_any_precision(folder):
    on_gpu = SimpleNamespace(data_preprocessor=SimpleNamespace(device=torch.device('cuda')))
    assert run_by(on_gpu, 'auto', 'fp16') is on_gpu
    with pytest.raises(ConfigError, match='needs a GPU'):
        run_by(init_detector(None, folder / 'seg.pth', 'cpu'), 'auto', 'fp16')


def test_a_runtime_without_it_refuses(folder, cache):
    with pytest.raises(ConfigError, match='amp has no effect on an exported file of this format'):
        Predictor(None, folder / 'seg.pth', runtime='onnx', amp='bf16')
